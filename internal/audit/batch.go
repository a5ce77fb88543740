package audit

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/carrel-dev/carrel"
)

const (
	// maxBatch bounds one batch, so that a write that is cut short leaves
	// little behind and memory stays small when the disk cannot keep up.
	maxBatch = 1 << 20
	// maxAge is how long a record that nobody waits for stays in memory.
	maxAge = 50 * time.Millisecond
)

// batch is what becomes durable together. Its fields are guarded by Log.mu
// until the committer takes it, and owned by the committer after that.
type batch struct {
	lines   []*line
	bytes   int
	waiting int // how many wait for it
	// hashing counts lines whose leaf is still being computed, by those who
	// appended them and while the batch is written.
	hashing  sync.WaitGroup
	due      bool // somebody waits for it, it is old, or it is full
	answered bool
	taken    chan struct{} // closed when the committer takes it: there is room again
	done     chan struct{} // closed when err is the answer
	err      error
}

func newBatch() *batch {
	return &batch{taken: make(chan struct{}), done: make(chan struct{})}
}

// add puts a record into the next batch, waiting while that is full.
func (l *Log) add(ctx context.Context, r carrel.Record, due bool) (*batch, error) {
	stamp(&r)
	if r.Run != "" {
		r.RunSeq = pendingSeq
	}
	encoded, err := encode(&r) // outside the lock: this is most of the work
	if err != nil {
		return nil, err
	}
	if l.redact != nil {
		if encoded, err = l.redact.clean(&r, encoded); err != nil {
			return nil, err
		}
	}
	b, err := l.join(ctx, &r, encoded, due)
	if err != nil {
		return nil, err
	}
	encoded.hash() // outside the lock, too, and beside the write
	b.hashing.Done()
	return b, nil
}

// join gives an encoded record its number and its place in the next batch.
func (l *Log) join(ctx context.Context, r *carrel.Record, encoded *line, due bool) (*batch, error) {
	l.mu.Lock()
	for l.err == nil && l.next.bytes > 0 && l.next.bytes+len(encoded.text) > maxBatch {
		full := l.next
		full.due = true
		l.wake()
		l.mu.Unlock()
		select {
		case <-full.taken:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	if r.Run != "" {
		if err := l.runs.number(r, encoded); err != nil {
			return nil, err
		}
	}
	l.put(encoded, due)
	return l.next, nil
}

// put is the part of add that cannot fail. The caller holds mu.
func (l *Log) put(encoded *line, due bool) {
	b := l.next
	if len(b.lines) == 0 {
		l.age.Reset(maxAge)
	}
	b.hashing.Add(1)
	b.lines = append(b.lines, encoded)
	b.bytes += len(encoded.text)
	if !due {
		return
	}
	b.waiting++
	if !b.due {
		b.due = true
		l.wake()
	}
}

// wake lets the committer look. The caller holds mu.
func (l *Log) wake() {
	if l.err != nil {
		return
	}
	select {
	case l.notify <- struct{}{}:
	default:
	}
}

func (l *Log) wakeAged() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.next.lines) > 0 {
		l.next.due = true
		l.wake()
	}
}

// commitBatches makes batches durable, one at a time, until Close. It is the
// only goroutine that does.
func (l *Log) commitBatches() {
	defer close(l.idle)
	for range l.notify {
		for l.commitDue() {
		}
	}
}

// maxHold is how long the lock is kept from batch to batch while no other
// process wants it. Within it nobody looks whether the log was put back.
const maxHold = 100 * time.Millisecond

// commitDue makes the batches durable that are due, one after the other, and
// reports whether there were any.
func (l *Log) commitDue() bool {
	l.storeMu.Lock()
	defer l.storeMu.Unlock()
	b := l.gather()
	if b == nil {
		return false
	}
	err := l.store.with(context.Background(), func() error {
		for end := time.Now().Add(maxHold); b != nil; {
			if err := l.commit(b); err != nil {
				return err
			}
			if time.Now().After(end) || l.store.lock.wanted() {
				break
			}
			b = l.gather()
		}
		return l.store.publishGrown()
	})
	if err != nil {
		err = l.fail(err)
		if b != nil {
			b.answer(err)
		}
	}
	return true
}

// commit makes one batch durable and answers those who wait for it. It is
// published with the next, or by who calls.
func (l *Log) commit(b *batch) error {
	defer func() {
		l.mu.Lock()
		l.crowd = b.waiting + l.next.waiting
		l.mu.Unlock()
	}()
	return l.store.grow(b.lines, b.hashing.Wait, func() { b.answer(nil) })
}

// answer tells those who wait what became of the batch, if they do not know.
func (b *batch) answer(err error) {
	if !b.answered {
		b.answered, b.err = true, err
		close(b.done)
	}
}

// patience is the part of a wait for the disk that gather waits for company,
// and maxPatience its bound.
const (
	patience    = 4
	maxPatience = 250 * time.Microsecond
)

// gather takes the next batch if it is due. Those whose records just became
// durable often append again at once: it lets them, so that one wait for the
// disk serves them all, but never long.
func (l *Log) gather() *batch {
	l.mu.Lock()
	next := l.next
	l.mu.Unlock()
	for end := time.Now().Add(min(l.store.waited/patience, maxPatience)); ; runtime.Gosched() {
		l.mu.Lock()
		whole := !next.due || next.waiting >= l.crowd
		l.mu.Unlock()
		if whole || time.Now().After(end) {
			return l.take()
		}
	}
}

// take hands the next batch to the committer, if it is due.
func (l *Log) take() *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.next
	if !b.due || l.err != nil {
		return nil
	}
	l.next = newBatch()
	close(b.taken)
	return b
}

// fail makes the log refuse everything from now on, and returns why.
func (l *Log) fail(cause error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.setErr(cause)
}

// setErr is fail for a caller that holds mu. What waits in the next batch
// hears of it.
func (l *Log) setErr(cause error) error {
	if l.err == nil {
		l.err = fmt.Errorf("the log has stopped: %w", cause)
		l.next.err = l.err
		close(l.next.taken)
		close(l.next.done)
	}
	return l.err
}
