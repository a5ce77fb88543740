package workspace

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/private"
)

// MarkShown notes that review showed the change.
func (w *Workspace) MarkShown(id carrel.ChangeID) error {
	return w.alterChange(id, func(e *ChangeEntry) { e.Shown = time.Now().UTC() })
}

// SetChangeState notes what became of a change.
func (w *Workspace) SetChangeState(id carrel.ChangeID, state ChangeState, note string) error {
	return w.alterChange(id, func(e *ChangeEntry) {
		e.State, e.Note, e.Changed = state, carrel.Text(note), time.Now().UTC()
	})
}

func (w *Workspace) alterChange(id carrel.ChangeID, alter func(*ChangeEntry)) error {
	err := private.Locked(filepath.Dir(w.changeFile(id)), func() error {
		e, err := w.Change(id)
		if err != nil {
			return err
		}
		alter(&e)
		return writeJSON(w.changeFile(id), e)
	})
	if err != nil {
		return fmt.Errorf("noting the state of %s: %w", id, err)
	}
	return nil
}

// listChange makes a stored manifest known as a pending change, and retires
// the desk's earlier pending ones.
func (w *Workspace) listChange(_ context.Context, e ChangeEntry) error {
	if err := writeJSON(w.changeFile(e.ID), e); err != nil {
		return fmt.Errorf("listing %s: %w", e.ID, err)
	}
	if err := os.MkdirAll(w.index("changes"), 0o700); err != nil {
		return fmt.Errorf("listing %s: %w", e.ID, err)
	}
	if err := os.WriteFile(filepath.Join(w.index("changes"), string(e.ID)), nil, 0o600); err != nil {
		return fmt.Errorf("listing %s: %w", e.ID, err)
	}
	return w.retire(e.Desk, ChangeSuperseded, "by "+string(e.ID), e.ID)
}

// retire ends the desk's pending changes, except one.
func (w *Workspace) retire(desk carrel.DeskID, state ChangeState, note string, except carrel.ChangeID) error {
	all, err := w.Changes()
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Desk == desk && e.State == ChangePending && e.ID != except {
			if err := w.SetChangeState(e.ID, state, note); err != nil {
				return err
			}
		}
	}
	return nil
}
