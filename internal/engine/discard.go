//go:build linux

package engine

import (
	"context"
	"fmt"
	"strings"

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

// confirmDiscard asks at the terminal; elsewhere --yes must be said.
func (e *Engine) confirmDiscard(ctx context.Context, s selected) error {
	if !term.IsTerminal(int(e.host.Stdin.Fd())) {
		return &hintError{fmt.Errorf("discarding %s throws away %s", s.entry.ID, countFiles(len(s.change.Files))), "say --yes"}
	}
	fmt.Fprintf(e.host.Stderr, "Throw away %s of %s in %s? [y/N] ", countFiles(len(s.change.Files)), s.entry.ID, terminal.Escape(s.ws.Root()))
	answer, err := e.readLine(ctx)
	if err != nil {
		return err
	}
	if a := strings.ToLower(answer); a != "y" && a != "yes" {
		return fmt.Errorf("kept %s", s.entry.ID)
	}
	return nil
}
