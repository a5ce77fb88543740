package egress

import (
	"context"
	"errors"

	"github.com/carrel-dev/carrel"
)

// errWithdrawn ends what was allowed before and is not any more.
var errWithdrawn = errors.New("the rules have changed, and no longer allow it")

// live is one connection or request under way.
type live struct {
	action carrel.Action
	end    context.CancelCauseFunc
}

// keep remembers a for as long as done is not called, so that a change of the
// rules can end it: then ctx ends with errWithdrawn.
func (d *Door) keep(ctx context.Context, a carrel.Action) (context.Context, func()) {
	ctx, end := context.WithCancelCause(ctx)
	l := &live{a, end}
	d.mu.Lock()
	d.live[l] = struct{}{}
	d.mu.Unlock()
	return ctx, func() {
		end(nil)
		d.mu.Lock()
		delete(d.live, l)
		d.mu.Unlock()
	}
}

// Replace puts other rules in force. The caller sees to it that the gate's
// decider answers by them first. What is under way and would now be refused is
// refused, recorded and ended before Replace returns. Ports that the rules did
// not name when the door was attached stay shut; the model endpoint stays.
func (d *Door) Replace(rules *Rules) {
	d.granted.Store(rules)
	d.names.forget()
	d.mu.Lock()
	under := make([]*live, 0, len(d.live))
	for l := range d.live {
		under = append(under, l)
	}
	d.mu.Unlock()
	for _, l := range under {
		if !d.gate.Judge(d.ctx, l.action).Allows() {
			d.count("withdrawn")
			l.end(errWithdrawn)
		}
	}
}

func (d *Door) rules() *Rules { return d.granted.Load() }
