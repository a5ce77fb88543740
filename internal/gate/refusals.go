package gate

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/carrel-dev/carrel"
)

const (
	// refusalWindow is how long identical refusals are counted instead of
	// recorded one by one: a denied operation in a loop must not fill the disk.
	refusalWindow = 10 * time.Second
	// maxRefusals bounds the different refusals that a gate records one by
	// one. Later ones are counted together by operation.
	maxRefusals = 10_000
)

// refusals coalesces identical refusals. The zero value is ready.
type refusals struct {
	mu   sync.Mutex
	seen map[string]*refusalCount // by digest, or by operation past maxRefusals
}

type refusalCount struct {
	sample  *Refusal
	repeats int64
	since   time.Time
}

// refuse records or counts r and returns it. A refusal that cannot be
// recorded is still a refusal.
func (g *Gate) refuse(ctx context.Context, r *Refusal) error {
	if rec, ok := g.refusals.add(r); ok {
		if err := g.log.Enqueue(context.WithoutCancel(ctx), rec); err != nil {
			g.stop(fmt.Errorf("recording a refusal: %w", err))
		}
	}
	if g.OnRefusal != nil {
		g.OnRefusal(r)
	}
	return r
}

// add returns the record to write now, if one is due.
func (s *refusals) add(r *Refusal) (carrel.Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = make(map[string]*refusalCount)
	}
	key := string(r.Digest)
	if s.seen[key] == nil && len(s.seen) >= maxRefusals {
		key = string(r.Action.Operation)
	}
	c := s.seen[key]
	if c == nil {
		s.seen[key] = &refusalCount{sample: r, since: time.Now()}
		return refusalRecord(r, 0), true
	}
	if time.Since(c.since) < refusalWindow {
		c.repeats++
		return carrel.Record{}, false
	}
	rec := refusalRecord(r, c.repeats)
	*c = refusalCount{sample: r, since: time.Now()}
	return rec, true
}

// Flush records the refusals that were only counted so far. The engine calls
// it at the end of a run.
func (g *Gate) Flush(ctx context.Context) error {
	for _, rec := range g.refusals.drain() {
		if err := g.log.Enqueue(context.WithoutCancel(ctx), rec); err != nil {
			return fmt.Errorf("recording counted refusals: %w", err)
		}
	}
	return nil
}

func (s *refusals) drain() []carrel.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []carrel.Record
	for key, c := range s.seen {
		if c.repeats > 0 {
			rec := refusalRecord(c.sample, c.repeats-1)
			if key != string(c.sample.Digest) {
				rec.Note = "further different refusals of this operation, counted together"
			}
			out = append(out, rec)
			c.repeats = 0
		}
	}
	return out
}

// refusalRecord describes r and the identical refusals before it that were
// counted and not recorded.
func refusalRecord(r *Refusal, repeats int64) carrel.Record {
	a, d := r.Action, r.Decision
	return carrel.Record{Kind: carrel.KindRefused, Run: a.Run, Action: &a, ActionDigest: r.Digest, Decision: &d, Repeats: repeats}
}
