package credential

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// Source is one place a key comes from. Make it with FromEnv, FromFile or
// FromCommand. It is safe for concurrent use; the key is read when it is first
// needed and kept in memory.
type Source struct {
	where string
	fetch func(ctx context.Context) (string, error)

	mu   sync.Mutex
	kept Value
}

// Where says where the key comes from, for people and for the log: never the
// key.
func (s *Source) Where() string { return s.where }

// Get returns the key for the action a, which g must cover. again asks for it
// anew, because the last one was refused.
func (s *Source) Get(ctx context.Context, g gate.Grant, a carrel.Action, again bool) (Value, error) {
	if err := g.Covers(a); err != nil {
		return Value{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.kept.IsZero() && !again {
		return s.kept, nil
	}
	raw, err := s.fetch(ctx)
	if err != nil {
		return Value{}, fmt.Errorf("key from %s: %w", s.where, err)
	}
	v, err := newValue(strings.TrimSpace(raw))
	if err != nil {
		return Value{}, fmt.Errorf("key from %s: %w", s.where, err)
	}
	s.kept = v
	return v, nil
}

// FromEnv takes the key from a variable of the supervisor's environment, which
// lookup reads.
func FromEnv(name string, lookup func(string) (string, bool)) *Source {
	return &Source{where: "environment variable " + name, fetch: func(context.Context) (string, error) {
		v, ok := lookup(name)
		if !ok {
			return "", fmt.Errorf("it is not set; export it before starting carrel")
		}
		return v, nil
	}}
}
