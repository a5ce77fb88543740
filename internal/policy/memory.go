package policy

import (
	"sync"

	"github.com/carrel-dev/carrel"
)

// maxRemembered bounds the answers one entry keeps; the agent chooses how many
// different questions it asks.
const maxRemembered = 4096

// memory keeps the answers of one Rego entry by the digest of the input. That
// is safe because the digest covers everything the policy sees and the policy
// can see nothing else: it has no clock and no I/O. The zero value is ready.
type memory struct {
	mu      sync.Mutex
	answers map[carrel.Digest]Answer
}

func (m *memory) get(input carrel.Digest) (Answer, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.answers[input]
	return a, ok
}

// put keeps a. Faults are not kept: a time-out says something about the
// machine, not about the policy.
func (m *memory) put(input carrel.Digest, a Answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answers == nil || len(m.answers) >= maxRemembered {
		m.answers = make(map[carrel.Digest]Answer)
	}
	m.answers[input] = a
}
