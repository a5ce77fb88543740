package workspace

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"

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
	Work      string          `json:"work"`             // directory at the workspace's top
	Mounts    []carrel.Text   `json:"mounts,omitempty"` // inside the workspace, with such a directory at their top, too
	Phase     applyPhase      `json:"phase"`
	Steps     []applyStep     `json:"steps"`

	file string
	work map[carrel.Text]int // descriptors of Work, by mount
}

// in is the work directory that a step needs: on the mount of its path.
func (j *applyJournal) in(s *applyStep) int {
	if fd, ok := j.work[s.Mount]; ok {
		return fd
	}
	return -1
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

// begin makes the journal, then the work directories: a private one at the top
// of the workspace and of each mount inside it that is written to, on the file
// system that the files will be moved on.
func (p *applyPlan) begin() (*applyJournal, error) {
	var r [8]byte
	_, _ = rand.Read(r[:]) // never fails
	c := p.opts.Change
	j := &applyJournal{
		Version: journalVersion, Change: c.ID, Workspace: c.Workspace, RootIno: p.tree.st.Ino,
		Work: workPrefix + hex.EncodeToString(r[:]), Mounts: p.mountsOfSteps(), work: map[carrel.Text]int{},
		file: filepath.Join(appliesDir(p.opts.State), string(c.ID)+".json"),
	}
	if err := carrel.CheckID(string(c.ID), "chg_"); err != nil {
		return nil, err
	}
	if err := j.save(phaseStaging); err != nil {
		return nil, err
	}
	var err error
	for _, m := range append([]carrel.Text{""}, j.Mounts...) { // the top first: without it nothing was begun
		if err == nil {
			err = j.makeWork(p.tree, m)
		}
	}
	if err == nil {
		err = j.makeRooms(p.steps)
	}
	if err == nil {
		err = p.point("begun")
	}
	if err != nil {
		return nil, errors.Join(err, j.rollBack(p.tree))
	}
	return j, nil
}

// mountsOfSteps are the mounts inside the tree that steps are made on.
func (p *applyPlan) mountsOfSteps() []carrel.Text {
	var out []carrel.Text
	for i := range p.steps {
		if m := p.steps[i].Mount; m != "" && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

// roomSize is how many steps share a directory inside a work directory: file
// systems take long to fill large ones, and one at a time.
const roomSize = 512

func roomOf(step int) string { return "r" + strconv.Itoa(step/roomSize) }

// makeRooms makes the directories that steps keep things in.
func (j *applyJournal) makeRooms(steps []applyStep) error {
	for i := 0; i < len(steps); i += roomSize {
		for _, fd := range j.work {
			if err := unix.Mkdirat(fd, roomOf(i), 0o700); err != nil {
				return fmt.Errorf("writing to %s: %w", j.Workspace, err)
			}
		}
	}
	return nil
}

// makeWork makes the work directory of a mount, opens it, and tries it.
func (j *applyJournal) makeWork(t *applyTree, mount carrel.Text) error {
	_, root, err := t.mounts.above(string(mount))
	if err == nil {
		err = unix.Mkdirat(root, j.Work, 0o700)
	}
	if err != nil {
		return fmt.Errorf("writing to %s: %w", filepath.Join(string(j.Workspace), string(mount)), err)
	}
	if err := j.openWork(t, mount); err != nil {
		return err
	}
	return probe(j.work[mount])
}

func (j *applyJournal) openWork(t *applyTree, mount carrel.Text) error {
	at, root, err := t.mounts.above(string(mount))
	if err == nil && at != string(mount) {
		err = fmt.Errorf("what was mounted at %s is not any more; mount it again, so that the apply can be ended there", filepath.Join(string(j.Workspace), string(mount)))
	}
	if err != nil {
		return err
	}
	fd, err := openBeneath(root, j.Work, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || int(st.Uid) != os.Geteuid() {
		unix.Close(fd)
		return errors.Join(fmt.Errorf("%s is not the directory that was made", j.Work), err)
	}
	j.work[mount] = fd
	return nil
}

// probe tries what the apply rests on: two names exchanged in one step.
func probe(dir int) error {
	for _, name := range []string{"a", "b"} {
		fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return fmt.Errorf("writing to the workspace: %w", err)
		}
		unix.Close(fd)
	}
	if err := unix.Renameat2(dir, "a", dir, "b", unix.RENAME_EXCHANGE); err != nil {
		return fmt.Errorf("the workspace's file system cannot exchange two files in one step, without which nothing can be replaced safely; apply to a branch (carrel apply --branch NAME), or work on a local file system: %w", err)
	}
	return errors.Join(unix.Unlinkat(dir, "a", 0), unix.Unlinkat(dir, "b", 0))
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
	if err := t.mounts.sync(); err != nil {
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
		err = t.mounts.sync()
	}
	if err == nil {
		err = j.tidy(t, kept)
	}
	if err != nil {
		return fmt.Errorf("taking back the half-made apply (the next carrel command tries again): %w", err)
	}
	if len(kept) > 0 {
		mount := t.mounts.of(path.Dir(string(kept[0])))
		return &KeptError{Change: j.Change, Dir: filepath.Join(string(j.Workspace), mount, j.Work), Paths: kept}
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

// tidy removes the work directories, unless something is kept in them, and
// the journal. The one at the workspace's top goes last: without it nothing is
// left to be done.
func (j *applyJournal) tidy(t *applyTree, kept []carrel.Text) error {
	for _, m := range append(slices.Clone(j.Mounts), "") {
		if fd, ok := j.work[m]; ok {
			unix.Close(fd)
			delete(j.work, m)
		}
		if len(kept) > 0 {
			continue
		}
		_, root, err := t.mounts.above(string(m))
		if err == nil {
			err = j.dispose(root)
		}
		if err != nil {
			return fmt.Errorf("removing %s: %w", filepath.Join(string(m), j.Work), err)
		}
	}
	return os.Remove(j.file)
}

// maxTrash bounds what an apply replaced and is not deleted at once.
const maxTrash = 256 << 20

// dispose takes the work directory below root away: to the trash, where it is
// on the same file system, so that nobody waits for its files to be deleted.
func (j *applyJournal) dispose(root int) error {
	var st unix.Stat_t
	if err := statAt(root, j.Work, &st); errors.Is(err, unix.ENOENT) {
		return nil // also where nothing could be written
	}
	var size int64
	for i := range j.Steps {
		size += j.Steps[i].Old.Size
	}
	if size <= maxTrash {
		bin := filepath.Join(filepath.Dir(filepath.Dir(j.file)), "trash")
		err := os.MkdirAll(bin, 0o700)
		if err == nil {
			err = unix.Renameat2(root, j.Work, unix.AT_FDCWD, filepath.Join(bin, string(carrel.NewDeskID())), unix.RENAME_NOREPLACE)
		}
		if err == nil {
			return nil
		}
	}
	return (&remover{top: root}).removeAll(root, j.Work)
}
