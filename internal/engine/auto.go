//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// quietTime is how long nothing must change at the desk before what is there
// is applied by itself: editors and servers outside see whole steps.
const quietTime = 2 * time.Second

// unwitnessedPause is how long witnesses that were missing are not asked again
// at quiet moments.
const unwitnessedPause = time.Minute

// watchQuiet applies, at quiet moments of a run with --apply auto, what policy
// allows without asking. The returned function ends the watch and waits for it.
func (v *visit) watchQuiet(ctx context.Context, g *gate.Gate) (stop func()) {
	if v.opts.Apply != "auto" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		v.applyWhenQuiet(ctx, g)
	}()
	return func() { cancel(); <-ended }
}

func (v *visit) applyWhenQuiet(ctx context.Context, g *gate.Gate) {
	var before carrel.Digest
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(quietTime):
		}
		change, err := v.capture(ctx, g, true)
		if err != nil || len(change.Files) == 0 {
			before = ""
			continue // the end of the run takes the change again and says what is wrong
		}
		digest, err := change.Digest()
		if err == nil && digest.Equal(before) && time.Now().After(v.notBefore) {
			v.applyNow(ctx, g, change)
		}
		before = digest
	}
}

// applyNow applies a change that has held still. What policy does not allow
// waits for the end of the run.
func (v *visit) applyNow(ctx context.Context, g *gate.Gate, c *carrel.Change) {
	entry, err := v.ws.Change(c.ID)
	if err == nil && entry.State == workspace.ChangePending {
		s := selected{v.ws, entry, c}
		out, perr := v.e.publish(ctx, g, s, ApplyOptions{}, true)
		if err = errors.Join(perr, out.end()); err == nil {
			v.applied = append(v.applied, s)
			if !v.interactive() { // the agent has the screen
				v.sayApplied(out.Files)
			}
		}
	}
	var refusal *gate.Refusal
	var lacking *unwitnessed
	if errors.As(err, &lacking) {
		v.notBefore = time.Now().Add(unwitnessedPause)
	}
	if err != nil && !errors.As(err, &refusal) && !v.interactive() {
		fmt.Fprintf(v.e.host.Stderr, "carrel: applying at a quiet moment: %s\n", terminal.EscapeText(err.Error()))
	}
}

// capture freezes what the desk would alter now.
func (v *visit) capture(ctx context.Context, g *gate.Gate, running bool) (*carrel.Change, error) {
	unlock, err := v.e.lockContents(false)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return v.seat.Capture(ctx, workspace.CaptureOptions{Run: v.id, Decide: naming(v.owners(), g.Judge), Running: running})
}

// applyAuto applies, at the end of a run, what policy allows without asking
// anybody, and leaves the rest for review.
func (v *visit) applyAuto(ctx context.Context, g *gate.Gate, s selected) error {
	if err := v.seat.Close(); err != nil {
		return err
	}
	v.seat = nil
	out, err := v.e.publish(ctx, g, s, ApplyOptions{}, true)
	defer out.end()
	var refusal *gate.Refusal
	if errors.As(err, &refusal) {
		fmt.Fprintf(v.e.host.Stderr, "carrel: not applied by itself: %s\n", terminal.Escape(refusal.Decision.Reason))
		return nil
	}
	var lacking *unwitnessed
	if errors.As(err, &lacking) {
		fmt.Fprintf(v.e.host.Stderr, "carrel: not applied by itself: %s\n", terminal.Escape(err.Error()))
		return nil
	}
	if err != nil {
		return err
	}
	v.applied = append(v.applied, s)
	v.attestApplied(ctx, g)
	v.result.Change.State = workspace.ChangeApplied
	v.sayApplied(out.Files)
	return v.keep()
}

func (v *visit) sayApplied(files int) {
	fmt.Fprintf(v.e.host.Stderr, "carrel: applied %s to the tree, as policy allows\n", countFiles(files))
}

// attestApplied attests what was applied by itself. It waits for the end of
// the run: only then is it known what was enforced, and whether anything is
// missing.
func (v *visit) attestApplied(ctx context.Context, g *gate.Gate) {
	for _, s := range v.applied {
		if _, err := v.e.attest(ctx, g, s); err != nil {
			fmt.Fprintf(v.e.host.Stderr, "carrel: %s was applied, and is not attested: %s\n  next: carrel attest %s\n", s.entry.ID, terminal.EscapeText(err.Error()), s.entry.ID)
		}
	}
	v.applied = nil
}
