package workspace

import (
	"context"
	"errors"
	"fmt"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// DiscardAction is the action that Discard needs a grant for.
func DiscardAction(desk carrel.DeskID, reason string) carrel.Action {
	return carrel.Action{Operation: carrel.OpRevoke, Subject: string(desk), Reason: carrel.Text(reason)}
}

// Discard empties the desk's layers and marks its pending changes discarded.
// The home stays. The grant must cover a, made with DiscardAction for this
// desk.
func (s *Seat) Discard(_ context.Context, g gate.Grant, a carrel.Action) error {
	if err := g.Covers(a); err != nil {
		return err
	}
	if a.Operation != carrel.OpRevoke || a.Subject != string(s.meta.ID) {
		return fmt.Errorf("discarding the work at desk %s: %w", s.meta.ID, gate.ErrNoGrant)
	}
	if s.lock == nil {
		return fmt.Errorf("discarding the work at desk %s: %w", s.meta.ID, ErrDeskBusy)
	}
	if err := s.emptyLayers(); err != nil {
		return fmt.Errorf("discarding the work at desk %s: %w", s.meta.ID, err)
	}
	s.meta.Open = false
	s.save()
	if err := errors.Join(s.writePending(pendingWork{}), s.Saved()); err != nil {
		return err
	}
	return s.ws.retire(s.meta.ID, ChangeDiscarded, string(a.Reason), "")
}

// emptyLayers takes the layers away as they are and makes empty ones.
func (s *Seat) emptyLayers() error {
	for i := range s.meta.Layers {
		if err := s.makeLayer(&s.meta.Layers[i]); err != nil {
			return err
		}
	}
	return nil
}
