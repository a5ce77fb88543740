//go:build linux

package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/hook"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/sandbox"
)

// What becomes of the programs that run inside, as the configuration says.
const (
	commandsOff    = "off"
	commandsRecord = "record"
	commandsDecide = "decide"
)

// commands follows what is executed in one run. It is safe for concurrent use.
type commands struct {
	v       *visit
	gate    *gate.Gate
	decide  bool
	must    bool        // a machine where it cannot be had is no place to run
	started atomic.Bool // the agent itself, whose start was decided before

	seen, refused, unread atomic.Int64

	mu      sync.Mutex // guards repeats
	repeats map[string]*repeated
}

// repeated is a command that was recorded, and how often it ran again since.
type repeated struct {
	record carrel.Record
	since  time.Time
	count  int64
}

// A command that runs again is counted and recorded once in a while, so that
// a loop inside does not fill the log. So many different ones are kept apart.
const (
	repeatEvery = 10 * time.Second
	maxRepeated = 1024
)

// commandMode is the stricter of what the configuration and the command line
// say, and where neither says anything: decide where a policy of the user's,
// the organisation's or the repository's speaks of commands, else record.
func (v *visit) commandMode() string {
	said := config.Value[string]{Value: v.opts.Commands}
	if mode := config.Strictest(v.settings.Commands, said).Value; mode != "" {
		return mode
	}
	people := []policy.Kind{policy.Organisation, policy.User, policy.Repository}
	ours := func(s policy.Source) bool {
		return slices.Contains(people, s.Kind) && slices.Contains(s.Governs, carrel.OpExec)
	}
	if slices.ContainsFunc(v.policy.Sources(), ours) {
		return commandsDecide
	}
	return commandsRecord
}

// follow returns nil where nobody wants to hear of commands.
func (v *visit) follow(g *gate.Gate) *commands {
	mode := v.commandMode()
	if mode == commandsOff {
		return nil
	}
	said := v.settings.Commands.Value != "" || v.opts.Commands != ""
	return &commands{v: v, gate: g, decide: mode == commandsDecide, must: said || mode == commandsDecide}
}

// executed answers for one program that is about to run.
func (c *commands) executed(ctx context.Context, e sandbox.Execution) error {
	c.seen.Add(1)
	if e.Unread != nil {
		c.unread.Add(1)
	}
	a := c.action(e)
	if first := c.started.CompareAndSwap(false, true); first || !c.decide {
		return c.observe(ctx, a, e)
	}
	if e.Unread != nil {
		a.Argv = nil // a command that was not seen whole is none that anybody allowed
	}
	if e.Hashed != nil {
		a.Executable = e.Hashed() // a policy may ask for it
	}
	_, err := c.gate.Do(ctx, a, func(context.Context, gate.Grant) (carrel.Outcome, error) { return carrel.Outcome{}, nil })
	if err != nil {
		c.refused.Add(1)
	}
	return err
}

// observe records a command that nobody is asked about. It does not wait for
// the disk; what cannot be recorded does not run.
func (c *commands) observe(ctx context.Context, a carrel.Action, e sandbox.Execution) error {
	a.ID = carrel.NewActionID()
	r := carrel.Record{Kind: carrel.KindObservation, Run: c.v.id, Action: &a}
	if e.Unread != nil {
		r.Note = carrel.Text("not read whole: " + cutText(e.Unread.Error(), maxNote))
	}
	again, due := c.again(r, e)
	if again {
		return nil
	}
	return c.enqueue(ctx, append(due, r)...)
}

func (c *commands) enqueue(ctx context.Context, records ...carrel.Record) error {
	for _, r := range records {
		if err := c.v.log.Enqueue(context.WithoutCancel(ctx), r); err != nil {
			return fmt.Errorf("%w: %w", gate.ErrUnrecorded, err)
		}
	}
	return nil
}

// again counts a command that has just been recorded. It returns the counts
// that are due, too.
func (c *commands) again(r carrel.Record, e sandbox.Execution) (yes bool, due []carrel.Record) {
	key := e.Path + "\x00" + e.RawPath + "\x00" + e.Cwd + "\x00" + string(e.Digest) + "\x00" + strings.Join(e.Argv, "\x00")
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.repeats[key]
	if known != nil && time.Since(known.since) < repeatEvery {
		known.count++
		return true, nil
	}
	if known != nil {
		due = known.counted()
	}
	if c.repeats == nil {
		c.repeats = map[string]*repeated{}
	}
	if known == nil && len(c.repeats) >= maxRepeated {
		due = c.drain()
	}
	c.repeats[key] = &repeated{record: r, since: time.Now()}
	return false, due
}

func (r *repeated) counted() []carrel.Record {
	if r.count == 0 {
		return nil
	}
	out := r.record
	out.Repeats = r.count
	return []carrel.Record{out}
}

// drain returns the counts of everything and forgets it. The lock is held.
func (c *commands) drain() (due []carrel.Record) {
	for _, known := range c.repeats {
		due = append(due, known.counted()...)
	}
	clear(c.repeats)
	return due
}

// finish records what is counted and not recorded yet.
func (c *commands) finish(ctx context.Context) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	due := c.drain()
	c.mu.Unlock()
	return c.enqueue(ctx, due...)
}

// Bounds of what is recorded of a command, in bytes. Arguments are bounded by
// hook.Recordable.
const (
	maxNote   = 200
	maxRawCwd = 1000
)

// action is the command as policies and records see it. What comes from
// inside may be of any size and any bytes.
func (c *commands) action(e sandbox.Execution) carrel.Action {
	a := carrel.Action{
		Run: c.v.id, Operation: carrel.OpExec, Agent: c.v.profile.Name,
		Argv: hook.Recordable(e.Argv), Cwd: carrel.Text(cutText(e.Cwd, maxRawCwd)),
		Executable: e.Digest, Process: &carrel.Process{PID: e.PID, Parent: e.Parent},
	}
	if utf8.ValidString(e.Path) && len(e.Path) <= maxRawCwd {
		a.Path = e.Path
	}
	if e.RawPath != e.Path {
		a.RawPath = carrel.Text(cutText(e.RawPath, maxRawCwd))
	}
	return a
}

func cutText(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}

// counts are for the run's last record and its result.
func (c *commands) counts() map[string]int64 {
	if c == nil {
		return nil
	}
	return map[string]int64{"executions": c.seen.Load(), "executions_refused": c.refused.Load(), "executions_unread": c.unread.Load()}
}
