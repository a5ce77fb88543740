//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// recoverApplies finishes or rolls back what a killed apply left, on the one
// road.
func (e *Engine) recoverApplies(ctx context.Context) error {
	done, err := workspace.RecoverApplies(ctx, e.host.Paths.State, func() (*gate.Gate, error) {
		op, err := e.operator(ctx, "")
		if err != nil {
			return nil, err
		}
		return op.gate, nil
	})
	for _, r := range done {
		fmt.Fprintf(e.host.Stderr, "carrel: %s\n", terminal.Escape(r.String()))
	}
	return errors.Join(err, e.recoverBranches(ctx))
}

// recoverBranches does the same for applies to branches: one that the log has
// is finished, any other taken back.
func (e *Engine) recoverBranches(ctx context.Context) error {
	left, err := workspace.InterruptedBranches(e.host.Paths.State)
	for _, b := range left {
		said, rerr := e.recoverBranch(ctx, b)
		end := b.End
		if rerr != nil { // nothing that others do depends on it: the next command tries again
			said, end = rerr.Error(), b.Release
		}
		fmt.Fprintf(e.host.Stderr, "carrel: %s\n", terminal.Escape(said))
		err = errors.Join(err, end())
	}
	return err
}

func (e *Engine) recoverBranch(ctx context.Context, b *workspace.BranchApply) (said string, err error) {
	op, err := e.operator(ctx, "")
	if err != nil {
		return "", err
	}
	recorded, err := e.recorded(ctx, b)
	if err != nil {
		return "", err
	}
	if recorded {
		return e.finishBranch(ctx, op.gate, b)
	}
	ws, err := e.workspaceAt(ctx, string(b.Workspace))
	if err != nil {
		return "", err
	}
	if ws.Repository() == nil {
		return fmt.Sprintf("an apply of %s to branch %s was interrupted, and %s is no repository any more", b.Change, b.Branch, b.Workspace), nil
	}
	a := b.Undoing()
	_, err = op.gate.Do(ctx, a, func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
		said, err = b.TakeBack(ctx, grant, a, ws.Repository())
		return carrel.Outcome{Facts: map[string]carrel.Text{"recovered": carrel.Text(said)}}, err
	})
	return said, err
}

// recorded reports whether the log has the apply as done.
func (e *Engine) recorded(ctx context.Context, b *workspace.BranchApply) (bool, error) {
	for entry, err := range audit.OpenReader(e.state("log")).Run(ctx, b.Run) {
		if err != nil {
			return false, fmt.Errorf("looking whether the apply of %s is recorded: %w", b.Change, err)
		}
		if r := entry.Record; r.Kind == carrel.KindResult && r.Action.ID == b.Action && r.Outcome.Status == carrel.OutcomeDone {
			return true, nil
		}
	}
	return false, nil
}

// finishBranch does what was still to be done after an apply was recorded.
func (e *Engine) finishBranch(ctx context.Context, g *gate.Gate, b *workspace.BranchApply) (string, error) {
	said := fmt.Sprintf("an interrupted apply of %s to branch %s of %s was finished", b.Change, b.Branch, b.Workspace)
	s, err := e.find(ctx, Selection{ID: string(b.Change)}, nil)
	if err != nil {
		return "", err
	}
	if err := e.settle(ctx, s, published{Branch: b.Branch}); err != nil {
		said += ", but: " + err.Error()
	}
	if _, err := e.attest(ctx, g, s); err != nil { // said once: attesting is the user's to ask for again
		said += fmt.Sprintf(", and it is not attested: %v; next: carrel attest %s", err, b.Change)
	}
	return said, nil
}
