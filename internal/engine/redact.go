//go:build linux

package engine

import (
	"context"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// redacting is a log into which no key of this run gets by way of an error or
// a fact that came from outside. What was wanted is recorded as it was: the
// agent has no key to put there.
type redacting struct {
	gate.Log
	redact func(string) string
}

// Append implements gate.Log.
func (l redacting) Append(ctx context.Context, r carrel.Record) error {
	return l.Log.Append(ctx, l.clean(r))
}

// Enqueue implements gate.Log.
func (l redacting) Enqueue(ctx context.Context, r carrel.Record) error {
	return l.Log.Enqueue(ctx, l.clean(r))
}

func (l redacting) clean(r carrel.Record) carrel.Record {
	if r.Outcome == nil {
		return r
	}
	out := *r.Outcome
	out.Error = carrel.Text(l.redact(string(out.Error)))
	if out.Facts != nil {
		facts := make(map[string]carrel.Text, len(out.Facts))
		for name, fact := range out.Facts {
			facts[name] = carrel.Text(l.redact(string(fact)))
		}
		out.Facts = facts
	}
	r.Outcome = &out
	return r
}

// redact takes the keys of this run out of a text.
func (v *visit) redact(s string) string {
	if s == "" {
		return s
	}
	if v.leases != nil {
		s = v.leases.Redact(s)
	}
	if v.model != nil && v.model.source != nil {
		s = v.model.source.Redact(s)
	}
	return s
}
