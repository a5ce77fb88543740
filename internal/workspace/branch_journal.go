package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/git"
)

// BranchApply is an apply to a branch that has not been ended: it is under
// way, or its process died, or its result could not be recorded. It is on disk
// before the branch is, and holds the workspace's lock of applies.
type BranchApply struct {
	Version   int             `json:"v"`
	Change    carrel.ChangeID `json:"change"`
	Run       carrel.RunID    `json:"run"`
	Action    carrel.ActionID `json:"action"` // that publishes it
	Workspace carrel.Text     `json:"workspace"`
	Branch    string          `json:"branch"`
	Commit    string          `json:"commit"`

	file string
	lock *os.File
}

const branchJournal = ".branch"

func beginBranch(o BranchOptions, a carrel.Action, commit string) (*BranchApply, error) {
	lock, err := lockApplies(o.State, string(o.Change.Workspace))
	if err != nil {
		return nil, err
	}
	b := &BranchApply{
		Version: journalVersion, Change: o.Change.ID, Run: o.Change.Run, Action: a.ID, Workspace: o.Change.Workspace, Branch: o.Branch, Commit: commit,
		file: filepath.Join(appliesDir(o.State), string(o.Change.ID)+branchJournal), lock: lock,
	}
	if _, err := os.Lstat(b.file); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(ErrInterrupted, b.Release())
	}
	if err := writeJSON(b.file, b); err != nil {
		return nil, errors.Join(fmt.Errorf("writing the journal of the apply: %w", err), b.Release())
	}
	return b, nil
}

// Recorded is for what only an apply to the tree keeps until then.
func (b *BranchApply) Recorded() {}

// End forgets the apply: all that follows from it is done, or taken back.
func (b *BranchApply) End() error { return errors.Join(os.Remove(b.file), b.Release()) }

// Release leaves the apply to the next command.
func (b *BranchApply) Release() error { return b.lock.Close() }

// InterruptedBranches returns the applies to branches that no process carries
// out any more. Each holds a lock until it is ended or released; of those of
// one workspace the first is returned, the others the next time.
func InterruptedBranches(state string) ([]*BranchApply, error) {
	entries, err := os.ReadDir(appliesDir(state))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking for interrupted applies: %w", err)
	}
	var out []*BranchApply
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), branchJournal)
		if !ok || carrel.CheckID(id, "chg_") != nil {
			continue
		}
		b, err := takeInterrupted(state, filepath.Join(appliesDir(state), e.Name()))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errApplyBusy) {
			continue
		}
		if err != nil {
			return out, fmt.Errorf("looking for interrupted applies: %w", err)
		}
		out = append(out, b)
	}
	return out, nil
}

// takeInterrupted reads the journal and locks its workspace, after which it
// must still be there.
func takeInterrupted(state, file string) (*BranchApply, error) {
	b := &BranchApply{file: file}
	if err := readJSON(file, b); err != nil {
		return nil, err
	}
	if err := checkVersion("the interrupted apply "+file, b.Version, journalVersion); err != nil {
		return nil, fmt.Errorf("%w: let it finish that apply first", err)
	}
	var err error
	if b.lock, err = tryLockApplies(state, string(b.Workspace)); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(file); err != nil {
		return nil, errors.Join(err, b.Release())
	}
	return b, nil
}

// Undoing is the action that TakeBack needs a grant for.
func (b *BranchApply) Undoing() carrel.Action {
	return carrel.Action{Run: b.Run, Operation: carrel.OpRevoke, Subject: string(b.Change),
		Reason: carrel.Text(fmt.Sprintf("its apply to branch %s of %s was not recorded", b.Branch, b.Workspace))}
}

// TakeBack removes the branch if it still is what the apply made it, and no
// work tree has it checked out, and says what it did. The grant must cover a,
// which is Undoing.
func (b *BranchApply) TakeBack(ctx context.Context, g gate.Grant, a carrel.Action, repo *git.Repo) (string, error) {
	if err := g.Covers(a); err != nil {
		return "", err
	}
	if a.Subject != string(b.Change) || a.Operation != carrel.OpRevoke {
		return "", fmt.Errorf("taking back the apply of %s: %w", b.Change, gate.ErrNoGrant)
	}
	gone, err := repo.RemoveBranch(ctx, b.Branch, b.Commit)
	switch {
	case err != nil:
		return "", fmt.Errorf("taking back the apply of %s to branch %s: %w", b.Change, b.Branch, err)
	case !gone:
		return fmt.Sprintf("the apply of %s to branch %s of %s is not recorded; the branch is in use since and was left as it is: it is not attested", b.Change, b.Branch, b.Workspace), nil
	}
	return fmt.Sprintf("an interrupted apply of %s to branch %s of %s was taken back: it had not been recorded", b.Change, b.Branch, b.Workspace), nil
}
