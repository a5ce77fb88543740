package workspace

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/carrel-dev/carrel"
	"golang.org/x/sys/unix"
)

// applyPhase says how far an apply got.
type applyPhase string

// The phases. Until swapping the tree has not been touched; when done nothing
// is left but to tidy up.
const (
	phaseStaging  applyPhase = "staging"
	phaseSwapping applyPhase = "swapping"
	phaseDone     applyPhase = "done"
)

// applyJournal is what an apply leaves on disk so that, whatever happens to
// it, the tree ends up with all of the change or none. What each step did is
// not written down: it can be seen from what lies where.
type applyJournal struct {
	Version   int             `json:"v"`
	Change    carrel.ChangeID `json:"change"`
	Workspace carrel.Text     `json:"workspace"`
	RootIno   uint64          `json:"root_ino"`
	Work      string          `json:"work"` // directory at the workspace's top
	Phase     applyPhase      `json:"phase"`
	Steps     []applyStep     `json:"steps"`

	file string
	work int // descriptor of Work
}

// journalVersion is the version of applyJournal's format.
const journalVersion = 1

// insideEntry is what was staged below a directory that the change makes.
type insideEntry struct {
	Path   carrel.Text   `json:"path"`
	Ino    uint64        `json:"ino"`
	Digest carrel.Digest `json:"digest,omitempty"`
}

// workPrefix begins the names of work directories.
const workPrefix = ".carrel-apply-"

func appliesDir(state string) string { return filepath.Join(state, "applies") }

// begin makes the journal, then the work directory: a private one at the top
// of the workspace, on the file system that the files will be moved on.
func (p *applyPlan) begin() (*applyJournal, error) {
	var r [8]byte
	_, _ = rand.Read(r[:]) // never fails
	c := p.opts.Change
	j := &applyJournal{
		Version: journalVersion, Change: c.ID, Workspace: c.Workspace, RootIno: p.tree.st.Ino,
		Work: workPrefix + hex.EncodeToString(r[:]), work: -1,
		file: filepath.Join(appliesDir(p.opts.State), string(c.ID)+".json"),
	}
	if err := carrel.CheckID(string(c.ID), "chg_"); err != nil {
		return nil, err
	}
	if err := j.save(phaseStaging); err != nil {
		return nil, err
	}
	if err := unix.Mkdirat(p.tree.root, j.Work, 0o700); err != nil {
		return nil, errors.Join(fmt.Errorf("writing to %s: %w", c.Workspace, err), os.Remove(j.file))
	}
	err := j.openWork(p.tree)
	if err == nil {
		err = j.probe()
	}
	if err == nil {
		err = p.point("begun")
	}
	if err != nil {
		return nil, errors.Join(err, j.rollBack(p.tree))
	}
	return j, nil
}

func (j *applyJournal) openWork(t *applyTree) error {
	fd, err := openBeneath(t.root, j.Work, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || int(st.Uid) != os.Geteuid() {
		unix.Close(fd)
		return errors.Join(fmt.Errorf("%s is not the directory that was made", j.Work), err)
	}
	j.work = fd
	return nil
}

// probe tries what the apply rests on: two names exchanged in one step.
func (j *applyJournal) probe() error {
	for _, name := range []string{"a", "b"} {
		fd, err := unix.Openat(j.work, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return fmt.Errorf("writing to the workspace: %w", err)
		}
		unix.Close(fd)
	}
	if err := unix.Renameat2(j.work, "a", j.work, "b", unix.RENAME_EXCHANGE); err != nil {
		return fmt.Errorf("the workspace's file system cannot exchange two files in one step, without which nothing can be replaced safely; apply to a branch (carrel apply --branch NAME): %w", err)
	}
	return errors.Join(unix.Unlinkat(j.work, "a", 0), unix.Unlinkat(j.work, "b", 0))
}

func (j *applyJournal) save(phase applyPhase) error {
	j.Phase = phase
	if err := writeJSON(j.file, j); err != nil {
		return fmt.Errorf("writing the journal of the apply: %w", err)
	}
	return nil
}

// finish ends an apply whose steps are all made.
func (j *applyJournal) finish(t *applyTree) error {
	if err := unix.Syncfs(t.root); err != nil {
		return errors.Join(fmt.Errorf("writing to disk: %w", err), j.rollBack(t))
	}
	if err := j.save(phaseDone); err != nil {
		j.Phase = phaseSwapping
		return errors.Join(err, j.rollBack(t))
	}
	_ = j.tidy(t, nil) // all is applied; what is left is tidied up by the next command
	return nil
}

// rollBack undoes the steps that were made, last first. What somebody altered
// since stays as it is, and what it replaced is kept beside it.
func (j *applyJournal) rollBack(t *applyTree) error {
	kept, err := j.undoAll(t)
	if err == nil && len(j.Steps) > 0 {
		err = unix.Syncfs(t.root)
	}
	if err == nil {
		err = j.tidy(t, kept)
	}
	if err != nil {
		return fmt.Errorf("taking back the half-made apply (the next carrel command tries again): %w", err)
	}
	if len(kept) > 0 {
		return &KeptError{Change: j.Change, Dir: filepath.Join(string(j.Workspace), j.Work), Paths: kept}
	}
	return nil
}

// KeptError says that an apply was taken back except for paths that somebody
// altered meanwhile.
type KeptError struct {
	Change carrel.ChangeID
	Dir    string // holds the other content of the paths
	Paths  []carrel.Text
}

// Error names the paths and where their other content is.
func (e *KeptError) Error() string {
	return fmt.Sprintf("the half-made apply of %s was taken back, except for %d of its paths, which were altered meanwhile (%q); their other content is kept in %s: compare, then delete it", e.Change, len(e.Paths), e.Paths[:min(len(e.Paths), maxNamed)], e.Dir)
}

func (j *applyJournal) undoAll(t *applyTree) (kept []carrel.Text, err error) {
	if j.Phase != phaseSwapping {
		return nil, nil
	}
	for i := len(j.Steps) - 1; i >= 0; i-- {
		s := &j.Steps[i]
		left, err := j.undo(t, s)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s.Path, err)
		}
		if left {
			kept = append(kept, s.Path)
		}
	}
	return kept, nil
}

// tidy removes the work directory, unless something is kept in it, and the
// journal.
func (j *applyJournal) tidy(t *applyTree, kept []carrel.Text) error {
	if len(kept) == 0 {
		r := remover{top: t.root}
		if err := r.remove(t.root, j.Work, 0); err != nil {
			return fmt.Errorf("removing %s: %w", j.Work, err)
		}
	}
	if j.work >= 0 {
		unix.Close(j.work)
		j.work = -1
	}
	return os.Remove(j.file)
}
