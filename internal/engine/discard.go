//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/term"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// discard empties a desk on the one road.
func discard(ctx context.Context, op *operator, seat *workspace.Seat) error {
	a := workspace.DiscardAction(seat.ID(), "discarded by the user")
	_, err := op.gate.Do(ctx, a, func(ctx context.Context, g gate.Grant) (carrel.Outcome, error) {
		return carrel.Outcome{}, seat.Discard(ctx, g, a)
	})
	return err
}

// discardUntaken throws away, where no change was named or waits, what killed
// runs left at their desks. It needs no room for a change, so that it helps
// where the disk is full.
func (e *Engine) discardUntaken(ctx context.Context, sel Selection, opts DiscardOptions) (done bool, err error) {
	if sel.ID != "" || sel.Digest != "" {
		return false, nil
	}
	ws, err := e.workspaceAt(ctx, sel.Workspace)
	if err != nil {
		return false, err
	}
	desks, err := ws.Desks()
	if err != nil {
		return false, err
	}
	for _, d := range desks {
		one, err := e.emptyDesk(ctx, ws, d.ID, opts)
		if err != nil {
			return done, fmt.Errorf("discarding the work at desk %s: %w", d.ID, err)
		}
		done = done || one
	}
	return done, nil
}

// emptyDesk empties a desk whose last run was killed before its change was
// taken, and no other.
func (e *Engine) emptyDesk(ctx context.Context, ws *workspace.Workspace, id carrel.DeskID, opts DiscardOptions) (bool, error) {
	seat, err := ws.Desk(id)
	if err != nil {
		return false, err
	}
	defer seat.Close()
	if seat.Busy() || !seat.Unfinished() {
		return false, nil
	}
	if err := e.confirmDiscard(ctx, opts, "the work that a killed run left at "+string(id), ws); err != nil {
		return false, err
	}
	op, err := e.operator(ctx, "")
	if err != nil {
		return false, err
	}
	err = discard(ctx, op, seat)
	if errors.Is(err, syscall.ENOSPC) { // what it moved to the trash makes room
		if err = e.emptyTrash(ctx); err == nil {
			err = discard(ctx, op, seat)
		}
	}
	if err != nil {
		return false, err
	}
	if opts.JSON {
		return true, e.printJSON(map[string]any{"desk": id, "state": workspace.ChangeDiscarded})
	}
	fmt.Fprintf(e.host.Stdout, "discarded what a killed run left at desk %s\n", id)
	return true, nil
}

// emptyTrash removes what was discarded, of all workspaces.
func (e *Engine) emptyTrash(ctx context.Context) error {
	unlock, err := e.lockContents(true)
	if err != nil {
		return err
	}
	defer unlock()
	_, err = workspace.Prune(ctx, e.host.Paths.State, e.blobs, workspace.Retention{Trash: 1}, func(carrel.Digest) bool { return true })
	return err
}

// confirmDiscard asks at the terminal; elsewhere --yes must be said.
func (e *Engine) confirmDiscard(ctx context.Context, opts DiscardOptions, what string, ws *workspace.Workspace) error {
	if opts.Yes {
		return nil
	}
	if !term.IsTerminal(int(e.host.Stdin.Fd())) {
		return &hintError{fmt.Errorf("this throws away %s", what), "say --yes"}
	}
	yes, err := e.yes(ctx, fmt.Sprintf("Throw away %s in %s?", what, terminal.Escape(ws.Root())))
	if err == nil && !yes {
		err = errors.New("nothing was discarded")
	}
	return err
}

// Discard throws the work at a desk away.
func (e *Engine) Discard(ctx context.Context, sel Selection, opts DiscardOptions) error {
	if err := e.recoverApplies(ctx); err != nil {
		return err
	}
	s, err := e.find(ctx, sel, (*workspace.Workspace).LatestChange)
	if err != nil {
		if done, unseen := e.discardUntaken(ctx, sel, opts); done || unseen != nil {
			return unseen
		}
		return err
	}
	if err := s.mustBePending(); err != nil {
		return err
	}
	if err := e.confirmDiscard(ctx, opts, countFiles(len(s.change.Files))+" of "+string(s.entry.ID), s.ws); err != nil {
		return err
	}
	op, err := e.operator(ctx, s.change.Run)
	if err != nil {
		return err
	}
	seat, err := s.ws.Desk(s.entry.Desk)
	if err != nil {
		return err
	}
	defer seat.Close()
	if seat.Busy() {
		return &hintError{workspace.ErrDeskBusy, "wait until the run has ended, or end it"}
	}
	if err := discard(ctx, op, seat); err != nil {
		return err
	}
	if opts.JSON {
		return e.printJSON(map[string]any{"change": s.entry.ID, "state": workspace.ChangeDiscarded})
	}
	fmt.Fprintf(e.host.Stdout, "discarded %s: %s\n", s.entry.ID, countFiles(len(s.change.Files)))
	return nil
}
