package workspace

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

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
		Version: 1, Change: c.ID, Workspace: c.Workspace, RootIno: p.tree.st.Ino,
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
	Dir    string // holds the earlier content of the paths
	Paths  []carrel.Text
}

// Error names the paths and where their earlier content is.
func (e *KeptError) Error() string {
	return fmt.Sprintf("the half-made apply of %s was taken back, except for %d paths that were altered meanwhile (%q); what they replaced is kept in %s", e.Change, len(e.Paths), e.Paths[:min(len(e.Paths), maxNamed)], e.Dir)
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

// Recovered is what became of an apply that had been interrupted.
type Recovered struct {
	Change    carrel.ChangeID
	Workspace string
	Finished  bool  // else it was rolled back
	Kept      error // a *KeptError, if something could not be taken back
}

// String says it in one sentence.
func (r Recovered) String() string {
	switch {
	case r.Finished:
		return fmt.Sprintf("an interrupted apply of %s to %s was finished", r.Change, r.Workspace)
	case r.Kept != nil:
		return r.Kept.Error()
	}
	return fmt.Sprintf("an interrupted apply of %s to %s was taken back; nothing of it is in your tree", r.Change, r.Workspace)
}

// RecoverApplies finishes or rolls back what killed or crashed applies left
// half-made. Every command calls it first; with nothing to do it costs one
// directory listing. Applies that are under way are left alone.
func RecoverApplies(ctx context.Context, state string) ([]Recovered, error) {
	journals, err := readJournals(state)
	if err != nil {
		return nil, err
	}
	var done []Recovered
	var errs []error
	seen := make(map[carrel.Text]bool)
	for _, j := range journals {
		if seen[j.Workspace] {
			continue
		}
		seen[j.Workspace] = true
		lock, err := tryLockApplies(state, string(j.Workspace))
		if errors.Is(err, errApplyBusy) {
			continue
		}
		if err == nil {
			var part []Recovered
			part, err = recoverWorkspace(ctx, state, string(j.Workspace))
			done = append(done, part...)
			lock.Close()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("recovering the apply of %s in %s: %w", j.Change, j.Workspace, err))
		}
	}
	return done, errors.Join(errs...)
}

// recoverWorkspace recovers the applies of one workspace, whose lock is held.
func recoverWorkspace(ctx context.Context, state, workspace string) ([]Recovered, error) {
	journals, err := readJournals(state)
	if err != nil {
		return nil, err
	}
	var done []Recovered
	for _, j := range journals {
		if string(j.Workspace) != workspace {
			continue
		}
		if err := ctx.Err(); err != nil {
			return done, err
		}
		r, err := j.recover()
		if err != nil {
			return done, err
		}
		done = append(done, r)
	}
	return done, nil
}

func (j *applyJournal) recover() (Recovered, error) {
	r := Recovered{Change: j.Change, Workspace: string(j.Workspace), Finished: j.Phase == phaseDone}
	t, err := openApplyTree(string(j.Workspace))
	if err != nil {
		return r, err
	}
	defer t.Close()
	if t.st.Ino != j.RootIno {
		return r, fmt.Errorf("%s is another directory than the one the apply was made in; if that is gone for good, remove %s", j.Workspace, j.file)
	}
	err = j.openWork(t)
	if errors.Is(err, unix.ENOENT) {
		return r, os.Remove(j.file) // nothing was begun, or all was tidied up
	}
	if err != nil {
		return r, err
	}
	if j.Phase == phaseDone {
		return r, j.tidy(t, nil)
	}
	err = j.rollBack(t)
	var kept *KeptError
	if errors.As(err, &kept) {
		r.Kept, err = kept, nil
	}
	return r, err
}

func readJournals(state string) ([]*applyJournal, error) {
	entries, err := os.ReadDir(appliesDir(state))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking for interrupted applies: %w", err)
	}
	var journals []*applyJournal
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || carrel.CheckID(id, "chg_") != nil {
			continue
		}
		j := &applyJournal{file: filepath.Join(appliesDir(state), e.Name()), work: -1}
		err := readJSON(j.file, j)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking for interrupted applies: %w", err)
		}
		if !strings.HasPrefix(j.Work, workPrefix) || strings.ContainsRune(j.Work, '/') {
			return nil, fmt.Errorf("journal %s names the work directory %q", j.file, j.Work)
		}
		journals = append(journals, j)
	}
	return journals, nil
}

// errApplyBusy means that another apply to the same workspace is under way.
var errApplyBusy = errors.New("another apply to this workspace is under way; try again in a moment")

// applyPatience is how long an apply waits for another one: most take less.
const applyPatience = 5 * time.Second

func lockApplies(state, workspace string) (*os.File, error) {
	for end := time.Now().Add(applyPatience); ; time.Sleep(50 * time.Millisecond) {
		f, err := tryLockApplies(state, workspace)
		if !errors.Is(err, errApplyBusy) || time.Now().After(end) {
			return f, err
		}
	}
}

// tryLockApplies takes the lock of applies to one workspace. It ends with the
// descriptor, so that a killed apply leaves none.
func tryLockApplies(state, workspace string) (*os.File, error) {
	sum := sha256.Sum256([]byte(workspace))
	name := filepath.Join(appliesDir(state), hex.EncodeToString(sum[:16])+".lock")
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, fmt.Errorf("locking the workspace: %w", err)
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the workspace: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errApplyBusy
		}
		return nil, fmt.Errorf("locking the workspace: %w", err)
	}
	return f, nil
}
