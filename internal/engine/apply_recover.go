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
	done, err := workspace.RecoverApplies(ctx, e.host.Paths.State, workspace.Recovery{
		Gate: func() (*gate.Gate, error) {
			op, err := e.operator(ctx, "")
			if err != nil {
				return nil, err
			}
			return op.gate, nil
		},
		Recorded: e.recorded,
		Finish: func(ctx context.Context, g *gate.Gate, change carrel.ChangeID) error {
			return e.finish(ctx, g, change, "")
		},
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
	recorded, err := e.recorded(ctx, b.Run, b.Action)
	if err != nil {
		return "", err
	}
	if recorded {
		said = fmt.Sprintf("an interrupted apply of %s to branch %s of %s was finished", b.Change, b.Branch, b.Workspace)
		if err := e.finish(ctx, op.gate, b.Change, b.Branch); err != nil {
			said += ", but: " + err.Error()
		}
		return said, nil
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

// recorded reports whether the log has an action of a run as done.
func (e *Engine) recorded(ctx context.Context, run carrel.RunID, action carrel.ActionID) (bool, error) {
	for entry, err := range audit.OpenReader(e.state("log")).Run(ctx, run) {
		if err != nil {
			return false, fmt.Errorf("looking whether %s of %s is recorded: %w", action, run, err)
		}
		if r := entry.Record; r.Kind == carrel.KindResult && r.Action.ID == action && r.Outcome.Status == carrel.OutcomeDone {
			return true, nil
		}
	}
	return false, nil
}

// finish does what was still to be done after an apply was recorded. It is
// asked once: attesting is the user's to ask for again.
func (e *Engine) finish(ctx context.Context, g *gate.Gate, change carrel.ChangeID, branch string) error {
	s, err := e.find(ctx, Selection{ID: string(change)}, nil)
	if err != nil {
		return err
	}
	if err := e.settle(ctx, s, published{Branch: branch}); err != nil {
		return err
	}
	if _, err := e.attest(ctx, g, s); err != nil {
		return fmt.Errorf("it is not attested: %w; next: carrel attest %s", err, change)
	}
	return nil
}
