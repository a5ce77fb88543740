package workspace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/private"
)

// Recovered is what became of an apply that had been interrupted.
type Recovered struct {
	Change    carrel.ChangeID
	Workspace string
	Finished  bool  // else it was rolled back
	Kept      error // a *KeptError, if something could not be taken back
	Left      error // what was still to be done after it was recorded and could not be
}

// String says it in one sentence.
func (r Recovered) String() string {
	switch {
	case r.Left != nil:
		return fmt.Sprintf("an interrupted apply of %s to %s was finished, but: %v", r.Change, r.Workspace, r.Left)
	case r.Finished:
		return fmt.Sprintf("an interrupted apply of %s to %s was finished", r.Change, r.Workspace)
	case r.Kept != nil:
		return r.Kept.Error()
	}
	return fmt.Sprintf("an interrupted apply of %s to %s was taken back; nothing of it is in your tree", r.Change, r.Workspace)
}

// ErrInterrupted is returned by Apply where an earlier apply to the same
// workspace was interrupted and not recovered yet.
var ErrInterrupted = errors.New("an earlier apply to this workspace was interrupted; any carrel command there recovers it, such as carrel review")

// Recovery is what others know and do where an apply is recovered. Nothing of
// it is called where there is none.
type Recovery struct {
	// Gate is where recovering is an action like any other.
	Gate func() (*gate.Gate, error)
	// Recorded reports whether the log has this action of the run as done.
	Recorded func(context.Context, carrel.RunID, carrel.ActionID) (bool, error)
	// Finish does what follows from an apply that is recorded.
	Finish func(context.Context, *gate.Gate, carrel.ChangeID) error
}

// RecoverApplies ends what killed or crashed applies left, each as an action at
// the gate: one that the log has as done is finished, any other rolled back.
// Every command calls it first; with nothing to do it costs one directory
// listing. Applies that are under way are left alone.
func RecoverApplies(ctx context.Context, state string, how Recovery) ([]Recovered, error) {
	journals, err := readJournals(state)
	if err != nil || len(journals) == 0 {
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
			part, err = recoverWorkspace(ctx, state, j.Workspace, how)
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
func recoverWorkspace(ctx context.Context, state string, workspace carrel.Text, how Recovery) ([]Recovered, error) {
	journals, err := journalsOf(state, workspace)
	if err != nil || len(journals) == 0 { // whoever made them has ended well meanwhile
		return nil, err
	}
	g, err := how.Gate()
	if err != nil {
		return nil, err
	}
	var done []Recovered
	for _, j := range journals {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		r, err := j.end(ctx, g, how)
		if err != nil {
			return done, err
		}
		done = append(done, r)
	}
	return done, nil
}

// end takes the apply through the gate to its end.
func (j *applyJournal) end(ctx context.Context, g *gate.Gate, how Recovery) (r Recovered, err error) {
	if j.Phase == phaseDone && j.Action != "" {
		if j.recorded, err = how.Recorded(ctx, j.Run, j.Action); err != nil {
			return r, err
		}
	}
	a := j.action()
	_, err = g.Do(ctx, a, func(_ context.Context, grant gate.Grant) (carrel.Outcome, error) {
		r, err = j.recover(grant, a)
		return carrel.Outcome{Facts: map[string]carrel.Text{"recovered": carrel.Text(r.String())}}, err
	})
	if err != nil || !j.recorded {
		return r, err
	}
	r.Left = how.Finish(ctx, g, j.Change) // said once: what it says can be asked for again
	return r, os.Remove(j.file)
}

// journalsOf returns the journals of applies to one workspace.
func journalsOf(state string, workspace carrel.Text) ([]*applyJournal, error) {
	journals, err := readJournals(state)
	return slices.DeleteFunc(journals, func(j *applyJournal) bool { return j.Workspace != workspace }), err
}

// action is what recovering needs a grant for: an apply that was not finished
// is taken back, of one that was its leftovers.
func (j *applyJournal) action() carrel.Action {
	why := fmt.Sprintf("its apply to %s was interrupted when %s", j.Workspace, j.Phase)
	if j.Phase == phaseDone && !j.finished() {
		why = fmt.Sprintf("its apply to %s was not recorded", j.Workspace)
	}
	return carrel.Action{Run: j.Run, Operation: carrel.OpRevoke, Subject: string(j.Change), Reason: carrel.Text(why)}
}

// recover leaves of the apply all in the tree or nothing. The grant must cover
// a, this journal's action. The journal of one that is recorded stays.
func (j *applyJournal) recover(g gate.Grant, a carrel.Action) (Recovered, error) {
	r := Recovered{Change: j.Change, Workspace: string(j.Workspace), Finished: j.finished()}
	if err := g.Covers(a); err != nil {
		return r, err
	}
	if a.Subject != string(j.Change) {
		return r, fmt.Errorf("recovering the apply of %s: %w", j.Change, gate.ErrNoGrant)
	}
	t, err := openApplyTree(string(j.Workspace))
	if err != nil {
		return r, err
	}
	defer t.Close()
	if t.st.Ino != j.RootIno {
		return r, fmt.Errorf("%s is another directory than the one the apply was made in; if that is gone for good, remove %s", j.Workspace, j.file)
	}
	defer j.closeWork()
	err = j.openWork(t, "")
	switch gone := errors.Is(err, unix.ENOENT); {
	case gone && j.recorded:
		return r, nil
	case gone:
		return r, os.Remove(j.file) // nothing was begun, or all was tidied up
	}
	for _, m := range j.Mounts {
		if err != nil {
			break
		}
		if err = j.openWork(t, m); errors.Is(err, unix.ENOENT) {
			err = j.makeWork(t, m) // not begun there, or tidied up already: nothing is in it
		}
	}
	if err != nil {
		return r, err
	}
	switch {
	case j.recorded:
		return r, j.clear(t)
	case j.finished():
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
		j := &applyJournal{file: filepath.Join(appliesDir(state), e.Name()), work: map[carrel.Text]int{}}
		err := readJSON(j.file, j)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking for interrupted applies: %w", err)
		}
		if err := checkVersion("the interrupted apply "+j.file, j.Version, journalVersion); err != nil {
			return nil, fmt.Errorf("%w: let it finish that apply first", err)
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
	if err := private.MakeDir(appliesDir(state)); err != nil {
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
