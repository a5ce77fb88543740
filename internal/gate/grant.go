package gate

import (
	"errors"
	"sync/atomic"

	"github.com/carrel-dev/carrel"
)

// Grant is the permission to carry out one action, once, now. Its zero value
// covers nothing. Only Do makes grants, and a grant dies when its effect
// returns.
type Grant struct{ state *grantState }

type grantState struct {
	digest carrel.Digest
	redact func(carrel.Action) carrel.Action // as the gate did before the digest; nil: nothing
	alive  atomic.Bool
}

// ErrNoGrant is returned by effects that were called without a grant for what
// they were asked to do.
var ErrNoGrant = errors.New("no grant covers this action")

// Covers returns nil if g was minted for exactly this action and its effect
// is still running, else ErrNoGrant. Every function with an effect calls it
// first.
func (g Grant) Covers(a carrel.Action) error {
	if g.state == nil || !g.state.alive.Load() {
		return ErrNoGrant
	}
	if g.state.redact != nil {
		a = g.state.redact(a)
	}
	if digest, err := a.Digest(); err != nil || !digest.Equal(g.state.digest) {
		return ErrNoGrant
	}
	return nil
}
