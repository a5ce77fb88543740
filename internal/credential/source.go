package credential

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// Source is one place a key comes from. Make it with FromEnv, FromFile or
// FromCommand. It is safe for concurrent use; the key is read when it is first
// needed and kept in memory.
type Source struct {
	where string
	fetch func(ctx context.Context) (string, error)
	keep  time.Duration // how long an answer holds; 0: as long as the source
	tell  func(key string, spellings []string) error

	mu    sync.Mutex
	kept  Value
	since time.Time // when kept was fetched
}

// Where says where the key comes from, for people and for the log: never the
// key.
func (s *Source) Where() string { return s.where }

// How long a key is kept before it is asked for again: whoever rotates it
// expects that to count soon, and a helper may ask a server each time.
const (
	keepFile    = 10 * time.Second
	keepCommand = 5 * time.Minute
)

// Get returns the key for the action a, which g must cover. again asks for it
// anew, because the last one was refused.
func (s *Source) Get(ctx context.Context, g gate.Grant, a carrel.Action, again bool) (Value, error) {
	if err := g.Covers(a); err != nil {
		return Value{}, err
	}
	return s.get(ctx, again)
}

// Announce says the key to the function given to Tell, and to nobody else, so
// that it can be kept out of what is recorded before anybody uses it.
func (s *Source) Announce(ctx context.Context) error {
	_, err := s.get(ctx, false)
	return err
}

func (s *Source) get(ctx context.Context, again bool) (Value, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.kept.IsZero() && !again && (s.keep == 0 || time.Since(s.since) < s.keep) {
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
	if s.tell != nil {
		if err := s.tell(v.Reveal(), slices.DeleteFunc(spell(v.Reveal()), func(t string) bool { return len(t) < minSpelling })); err != nil {
			return Value{}, fmt.Errorf("key from %s: %w", s.where, err)
		}
	}
	s.kept, s.since = v, time.Now()
	return v, nil
}

// Tell makes the source say every key to known, with the ways in which it may
// be spelt, before anybody gets it; an error withholds it. It returns s.
func (s *Source) Tell(known func(key string, spellings []string) error) *Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell = known
	return s
}

// doubtful is how long a key must have been kept before an answer that
// refuses it makes a source be asked again: not for every such answer.
const doubtful = 10 * time.Second

// doubt makes the next use ask anew, because the last key was refused.
func (s *Source) doubt() {
	if !s.mu.TryLock() {
		return // it is being asked right now
	}
	defer s.mu.Unlock()
	if s.keep > 0 && time.Since(s.since) > doubtful {
		s.kept = Value{}
	}
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
