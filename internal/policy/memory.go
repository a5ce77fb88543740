package policy

import (
	"sync"

	"github.com/carrel-dev/carrel"
)

// maxRemembered bounds the answers one memory keeps; the agent chooses how
// many different questions it asks.
const maxRemembered = 4096

// memory keeps answers by a digest of the question: those of one Rego entry by
// the digest of the input, those of an engine by the action's. That is safe
// because the digest covers everything the policy sees and the policy can see
// nothing else: it has no clock and no I/O. The zero value is ready.
type memory[T any] struct {
	mu      sync.Mutex
	answers map[carrel.Digest]T
}

func (m *memory[T]) get(input carrel.Digest) (T, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.answers[input]
	return a, ok
}

// put keeps a. Faults are not kept: a time-out says something about the
// machine, not about the policy.
func (m *memory[T]) put(input carrel.Digest, a T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answers == nil || len(m.answers) >= maxRemembered {
		m.answers = make(map[carrel.Digest]T)
	}
	m.answers[input] = a
}
