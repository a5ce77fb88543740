// Package native is the tier that needs nothing but Linux: namespaces, an
// overlay, Landlock and seccomp, set up by Carrel itself, with or without
// root.
//
// It owns the processes it starts, their control sockets and the cgroups it
// makes. It is trusted with walls that hold: an agent must reach the
// supervisor by nothing but the sockets and streams that it relays, must
// never run as the host's root, and must be gone when its run is over. What a
// desk says on its control socket is taken as hostile from the moment its
// program may run.
package native

import (
	"context"
	"errors"
	"path"
	"sync"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/sandbox"
)

// Name is the tier's name in policies and records.
const Name = "native"

// Options are what the tier cannot know by itself.
type Options struct {
	// InstallDir is a private directory (0700) of this user where PID 1's
	// program is kept, to be started faster; "" keeps it in memory.
	InstallDir string
}

// Tier builds native desks. Make one with New; it is safe for concurrent use.
type Tier struct {
	options Options
	image   image

	mu     sync.Mutex               // guards what follows
	sown   []chan *seed             // by Prepare, for the next starts
	raised map[carrel.RunID]*raised // by Raise, until Start comes
}

var _ sandbox.Tier = (*Tier)(nil)

// New returns the tier. It starts nothing.
func New(o Options) *Tier { return &Tier{options: o, raised: map[carrel.RunID]*raised{}} }

// Name implements sandbox.Tier.
func (t *Tier) Name() string { return Name }

// Start implements sandbox.Tier.
func (t *Tier) Start(ctx context.Context, g gate.Grant, a carrel.Action, s sandbox.Spec) (sandbox.Desk, error) {
	if err := g.Covers(a); err != nil {
		return nil, err
	}
	d, err := t.start(ctx, s)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// check refuses a specification that is not what Spec promises.
func check(s *sandbox.Spec) error {
	for _, p := range []string{s.Program, s.Dir} {
		if !path.IsAbs(p) || path.Clean(p) != p {
			return refusal("path %q inside the desk is not absolute and clean", p)
		}
	}
	if len(s.Args) == 0 {
		return refusal("no arguments, not even the program's name")
	}
	if s.Terminal != nil && s.Relay == nil {
		return refusal("a terminal without a relay")
	}
	for i := range s.Mounts {
		if m := &s.Mounts[i]; !path.IsAbs(m.Target) || path.Clean(m.Target) != m.Target || m.Target == "/" {
			return refusal("mount target %q is not absolute and clean", m.Target)
		}
	}
	return checkStreams(s)
}

// asStartError makes every error of a start say which exit code it deserves.
func asStartError(err error) error {
	var s *sandbox.StartError
	if err == nil || errors.As(err, &s) {
		return err
	}
	return &sandbox.StartError{Code: codeOwn, Err: err}
}
