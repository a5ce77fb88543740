package native

import (
	"context"
	"reflect"
	"slices"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/sandbox"
)

// raised is a desk whose walls are built before its start is decided.
type raised struct {
	spec   sandbox.Spec
	cancel context.CancelFunc // of the building
	done   chan struct{}      // closed when desk and err are set
	desk   *Desk
	err    error
}

// Raise implements sandbox.Tier.
func (t *Tier) Raise(ctx context.Context, s sandbox.Spec) {
	ctx, cancel := context.WithCancel(ctx)
	r := &raised{spec: s, cancel: cancel, done: make(chan struct{})}
	t.mu.Lock()
	before := t.raised[s.Run]
	t.raised[s.Run] = r
	t.mu.Unlock()
	if before != nil {
		before.discard()
	}
	go func() {
		defer close(r.done)
		r.desk, r.err = t.raise(ctx, s)
	}()
}

// walls returns what Raise built for s, or builds it now.
func (t *Tier) walls(ctx context.Context, s sandbox.Spec) (*Desk, error) {
	r := t.taken(s.Run)
	if r == nil {
		return t.raise(ctx, s)
	}
	if !sameDesk(&r.spec, &s) {
		r.discard()
		return t.raise(ctx, s)
	}
	defer context.AfterFunc(ctx, r.cancel)()
	<-r.done
	r.cancel()
	return r.desk, r.err
}

func (t *Tier) taken(run carrel.RunID) *raised {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.raised[run]
	delete(t.raised, run)
	return r
}

// sameDesk reports whether two specifications show and run the same.
func sameDesk(a, b *sandbox.Spec) bool {
	return a.Program == b.Program && slices.Equal(a.Args, b.Args) && slices.Equal(a.Env, b.Env) && a.Dir == b.Dir && a.Host == b.Host &&
		a.Stdin == b.Stdin && a.Stdout == b.Stdout && a.Stderr == b.Stderr && a.Terminal == b.Terminal &&
		a.Limits == b.Limits && a.RuntimeDir == b.RuntimeDir && a.MustAsk == b.MustAsk && reflect.DeepEqual(a.Mounts, b.Mounts)
}

func (r *raised) discard() {
	r.cancel()
	<-r.done
	if r.desk != nil {
		r.desk.abort()
	}
}
