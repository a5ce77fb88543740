package egress

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/carrel-dev/carrel"
)

// ending is why something under way is ended.
type ending struct {
	rule, reason string
	next         []string
}

// Error implements error.
func (e *ending) Error() string { return e.reason }

// endingOf returns the ending of a that ended ctx, or nil.
func endingOf(ctx context.Context, a carrel.Action) error {
	var e *ending
	if !errors.As(context.Cause(ctx), &e) {
		return nil
	}
	return &Breach{Action: a, Rule: e.rule, Reason: e.reason, Next: e.next}
}

// errWithdrawn ends what was allowed before and is not any more.
var errWithdrawn = &ending{rule: "egress/withdrawn", reason: "the rules have changed, and no longer allow it"}

// live is one connection or request under way.
type live struct {
	door   *Door
	action *carrel.Action
	since  uint64 // the change of the rules that it was decided after
	end    context.CancelCauseFunc
	still  func() bool // guarded by door.mu; nil: the gate's word says it all
}

// keep remembers a, which was decided after the change since and is not altered
// any more, until done: a change of the rules that no longer allows it ends ctx
// with errWithdrawn, also one that came between the decision and now.
func (d *Door) keep(ctx context.Context, a *carrel.Action, since uint64) (context.Context, *live) {
	ctx, end := context.WithCancelCause(ctx)
	l := &live{door: d, action: a, since: since, end: end}
	d.mu.Lock()
	d.live[l] = struct{}{}
	d.mu.Unlock()
	if d.changes.Load() != since {
		l.judge()
	}
	return ctx, l
}

// done says that l is over.
func (l *live) done() {
	l.end(nil)
	l.door.mu.Lock()
	delete(l.door.live, l)
	l.door.mu.Unlock()
}

// holds adds what the rules say beyond the gate's word: where the connection
// led, and how it is carried.
func (l *live) holds(still func() bool) {
	l.door.mu.Lock()
	l.still = still
	l.door.mu.Unlock()
	if l.door.changes.Load() != l.since {
		l.judge()
	}
}

// judge ends l if it is no longer allowed. The refusal is recorded.
func (l *live) judge() {
	d := l.door
	d.mu.Lock()
	still := l.still
	d.mu.Unlock()
	if !d.gate.Judge(d.ctx, *l.action).Allows() || still != nil && !still() {
		d.count("withdrawn")
		l.end(errWithdrawn)
	}
}

// Replace puts other rules in force, or the same ones under another policy.
// The caller sees to it that the gate's decider answers by them first. What is
// under way and would now be refused is refused and recorded before Replace
// returns, and ends at once. Ports that the rules did not name when the door was
// attached stay shut; the model endpoint stays.
func (d *Door) Replace(rules *Rules) {
	d.granted.Store(rules)
	d.changes.Add(1)
	d.names.forget()
	for _, l := range d.underWay() {
		l.judge()
	}
}

// underWay returns what is under way now.
func (d *Door) underWay() []*live {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.live))
}

// endAll ends what is under way.
func (d *Door) endAll(why *ending) {
	for _, l := range d.underWay() {
		l.end(why)
	}
}

func (d *Door) rules() *Rules { return d.granted.Load() }

// ended says in the outcome of a why the door ended it, if that is what ended
// ctx.
func (d *Door) ended(ctx context.Context, a carrel.Action, out carrel.Outcome, err error) (carrel.Outcome, error) {
	if ending := endingOf(ctx, a); ending != nil {
		return d.broke(a, out, ending)
	}
	return out, err
}

// broke is breach for an action that has an outcome already.
func (d *Door) broke(a carrel.Action, out carrel.Outcome, err error) (carrel.Outcome, error) {
	failed, err := d.breach(a, err)
	if failed.Status != "" {
		if out.Status = failed.Status; out.Facts == nil {
			out.Facts = failed.Facts
		}
		maps.Copy(out.Facts, failed.Facts)
	}
	return out, err
}

// keptConn is a connection that outlives the action which opened it.
type keptConn struct {
	net.Conn
	live *live
	stop func() bool
}

// keepConn ends conn, which leads to addr for a, when the rules no longer
// allow it.
func (d *Door) keepConn(conn net.Conn, a carrel.Action, addr netip.Addr, since uint64) net.Conn {
	ctx, l := d.keep(d.ctx, &a, since)
	l.holds(func() bool { return d.leadsTo(a, addr) })
	return &keptConn{conn, l, context.AfterFunc(ctx, func() { reset(conn) })}
}

// NetConn returns the connection that was dialled.
func (c *keptConn) NetConn() net.Conn { return c.Conn }

// Close implements net.Conn.
func (c *keptConn) Close() error {
	c.stop()
	c.live.done()
	return c.Conn.Close()
}
