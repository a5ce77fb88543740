//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// menu lets the user choose, at the terminal, what becomes of a change. It
// calls what the verbs call. Breaking it off keeps the change.
func (v *visit) menu(ctx context.Context, s selected) error {
	if err := v.seat.Close(); err != nil { // the verbs sit down at the desk themselves
		return err
	}
	v.seat = nil
	sel := Selection{ID: string(s.entry.ID), Digest: s.entry.Digest.Hex(), Workspace: v.ws.Root()}
	for ctx.Err() == nil {
		fmt.Fprint(v.e.host.Stderr, "carrel: [r]eview, [a]pply, [k]eep for later, [d]iscard? ")
		choice, err := v.e.readLine(ctx)
		if errors.Is(err, gate.ErrPending) || errors.Is(err, context.Canceled) { // end of input, Ctrl-C
			return nil
		}
		if err != nil {
			return err
		}
		done, err := v.choose(ctx, choice, sel)
		if err != nil {
			fmt.Fprintf(v.e.host.Stderr, "carrel: %s\n", terminal.EscapeText(err.Error()))
		} else if done {
			return nil
		}
	}
	return nil
}

func (v *visit) choose(ctx context.Context, choice string, sel Selection) (done bool, err error) {
	switch choice {
	case "r", "review":
		return false, v.e.Review(ctx, sel, ReviewOptions{NoColor: v.opts.NoColor})
	case "a", "apply":
		return true, v.e.Apply(ctx, sel, ApplyOptions{NoColor: v.opts.NoColor})
	case "d", "discard":
		return true, v.e.Discard(ctx, sel, DiscardOptions{})
	case "k", "keep", "":
		return true, nil
	}
	return false, nil
}
