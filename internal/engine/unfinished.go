//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// takeUnfinished takes the change of desks whose run still goes on, and of
// those whose run was killed before its change was taken.
func (e *Engine) takeUnfinished(ctx context.Context, dir string) error {
	ws, err := e.workspaceAt(ctx, dir)
	if err != nil {
		return err
	}
	desks, err := ws.Desks()
	if err != nil {
		return err
	}
	for _, d := range desks {
		if err := e.takeDesk(ctx, ws, d.ID); err != nil {
			return fmt.Errorf("taking the change of desk %s: %w", d.ID, err)
		}
	}
	return nil
}

func (e *Engine) takeDesk(ctx context.Context, ws *workspace.Workspace, id carrel.DeskID) error {
	seat, err := ws.Desk(id)
	if err != nil {
		return err
	}
	defer seat.Close()
	if !seat.Busy() && !seat.Unfinished() {
		return nil
	}
	if seat.Replaced() {
		fmt.Fprintf(e.host.Stderr, "carrel: desk %s holds work for another directory that was at %s; it cannot be compared with this one (carrel discard throws it away)\n", id, terminal.Escape(ws.Root()))
		return nil
	}
	run, err := e.runAt(id)
	if run == nil || err != nil {
		return err
	}
	op, err := e.operator(ctx, run.Run)
	if err != nil {
		return err
	}
	unlock, err := e.lockContents(false)
	if err != nil {
		return err
	}
	defer unlock()
	change, err := seat.Capture(ctx, workspace.CaptureOptions{Run: run.Run, Decide: naming(ownersOf(ctx, ws.Repository(), run.Base.Commit), op.gate.Judge), Running: seat.Busy()})
	if err != nil || len(change.Files)+len(change.Withheld) == 0 {
		return err
	}
	entry, err := ws.Change(change.ID)
	if err != nil {
		return err
	}
	ref := carrel.ChangeRef{ID: change.ID, Digest: entry.Digest, Manifest: entry.Manifest}
	return errors.Join(op.log.Append(ctx, carrel.Record{Kind: carrel.KindChange, Run: run.Run, Change: &ref}), op.gate.Flush(ctx))
}

// runAt returns the newest run at a desk, or nil.
func (e *Engine) runAt(id carrel.DeskID) (*RunResult, error) {
	ids, err := e.listRuns()
	if err != nil {
		return nil, err
	}
	for _, run := range ids {
		if r, err := e.loadRun(run); err == nil && r.Desk == id {
			return r, nil
		}
	}
	return nil, nil
}
