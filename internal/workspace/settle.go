package workspace

import (
	"context"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// Settle drops files that were applied from the desk's layer, so that the
// agent sees the user's tree there again. A path that the agent altered after
// the capture stays. It does nothing while a run is under way: what equals
// the tree is no change anyway.
func (s *Seat) Settle(ctx context.Context, applied []carrel.FileChange) error {
	panic("not yet")
}

// DiscardAction is the action that Discard needs a grant for.
func DiscardAction(desk carrel.DeskID, reason string) carrel.Action {
	return carrel.Action{Operation: carrel.OpRevoke, Subject: string(desk), Reason: carrel.Text(reason)}
}

// Discard empties the desk's layers and marks its pending changes discarded.
// The grant must cover a, made with DiscardAction for this desk.
func (s *Seat) Discard(ctx context.Context, g gate.Grant, a carrel.Action) error {
	panic("not yet")
}
