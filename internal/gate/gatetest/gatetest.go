// Package gatetest holds what tests of effects need: a gate that allows
// everything, a log in memory, and the contract that every function with an
// effect must keep. It is trusted with nothing: only tests import it.
package gatetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// Log is a gate.Log in memory. Set Fail to make it fail.
type Log struct {
	mu      sync.Mutex
	records []carrel.Record
	Fail    func(carrel.Record) error // may be nil; called with the lock held
	Forget  bool                      // keep nothing: for tests of memory
}

// Append implements gate.Log.
func (l *Log) Append(_ context.Context, r carrel.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Fail != nil {
		if err := l.Fail(r); err != nil {
			return err
		}
	}
	if !l.Forget {
		l.records = append(l.records, r)
	}
	return nil
}

// Enqueue implements gate.Log.
func (l *Log) Enqueue(ctx context.Context, r carrel.Record) error { return l.Append(ctx, r) }

// Records returns a copy of what was recorded.
func (l *Log) Records() []carrel.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]carrel.Record(nil), l.records...)
}

// Decide makes a function a gate.Decider.
type Decide func(carrel.Action) carrel.Decision

// Decide implements gate.Decider.
func (f Decide) Decide(_ context.Context, a carrel.Action) carrel.Decision { return f(a) }

// Nobody is a gate.Approver that nobody answers.
type Nobody struct{}

// Await implements gate.Approver.
func (Nobody) Await(context.Context, carrel.Action, carrel.Digest, carrel.Decision) (carrel.Approval, error) {
	return carrel.Approval{}, gate.ErrPending
}

// AllowAll returns a gate that allows every action, and its log.
func AllowAll() (*gate.Gate, *Log) {
	log := &Log{}
	allow := Decide(func(carrel.Action) carrel.Decision { return carrel.Decision{Verdict: carrel.Allow} })
	return gate.New(allow, Nobody{}, log), log
}

// DenyAll returns a gate that denies every action, and its log.
func DenyAll() (*gate.Gate, *Log) {
	log := &Log{}
	return gate.New(Decide(func(carrel.Action) carrel.Decision { return carrel.Decision{} }), Nobody{}, log), log
}

// Effect is one function with an effect, for Contract.
type Effect struct {
	Name   string
	Action carrel.Action
	// Call asks for the effect with the given grant.
	Call func(ctx context.Context, g gate.Grant) error
	// Happened reports whether the effect took place since the last call of
	// Happened, or ever, if it cannot be undone.
	Happened func() bool
}

// Contract asserts that an effect happens with a grant for its action, and
// does not happen with no grant, with a grant for another action, or with a
// grant whose effect has returned.
func Contract(t *testing.T, e Effect) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	g, _ := AllowAll()
	other := e.Action.Clone()
	other.Reason += "another action"
	var dead gate.Grant
	within(t, ctx, g, e.Action, func(live gate.Grant) { dead = live })

	refused := func(how string, grant gate.Grant) {
		t.Helper()
		if err := e.Call(ctx, grant); !errors.Is(err, gate.ErrNoGrant) {
			t.Errorf("%s with %s: error is %v, want gate.ErrNoGrant", e.Name, how, err)
		}
		if e.Happened() {
			t.Errorf("%s happened with %s", e.Name, how)
		}
	}
	refused("a zero grant", gate.Grant{})
	refused("a dead grant", dead)
	within(t, ctx, g, other, func(live gate.Grant) { refused("a grant for another action", live) })
	within(t, ctx, g, e.Action, func(live gate.Grant) {
		if err := e.Call(ctx, live); err != nil {
			t.Errorf("%s with its grant: %v", e.Name, err)
		}
		if !e.Happened() {
			t.Errorf("%s did not happen with its grant", e.Name)
		}
	})
}

func within(t *testing.T, ctx context.Context, g *gate.Gate, a carrel.Action, f func(gate.Grant)) {
	t.Helper()
	_, err := g.Do(ctx, a, func(_ context.Context, live gate.Grant) (carrel.Outcome, error) {
		f(live)
		return carrel.Outcome{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
