package policy

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/carrel-dev/carrel"
)

// Live decides by the engine that is in force, which can be replaced while
// decisions are made: each is made by one engine and names that one's digest.
// The zero value denies. It is safe for concurrent use.
type Live struct{ current atomic.Pointer[Engine] }

// Decide implements gate.Decider.
func (l *Live) Decide(ctx context.Context, a carrel.Action) carrel.Decision {
	return l.current.Load().Decide(ctx, a)
}

// Engine is the engine in force.
func (l *Live) Engine() *Engine { return l.current.Load() }

// grace is how long an engine that was replaced may go on with what it has
// begun: more than it has for an answer.
const grace = 4 * deadline

// Replace puts e in force. The engine before it is closed once what it has
// begun is over.
func (l *Live) Replace(e *Engine) {
	if old := l.current.Swap(e); old != nil && old != e {
		time.AfterFunc(grace, old.Close)
	}
}
