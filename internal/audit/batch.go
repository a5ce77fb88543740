package audit

import (
	"context"
	"fmt"
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
	lines []line
	bytes int
	due   bool          // somebody waits for it, it is old, or it is full
	taken chan struct{} // closed when the committer takes it: there is room again
	done  chan struct{} // closed when err is the answer
	err   error
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
	encoded, err := encode(r) // outside the lock: this is most of the work
	if err != nil {
		return nil, err
	}
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
		if err := l.runs.number(&r, &encoded); err != nil {
			return nil, err
		}
	}
	l.put(encoded, due)
	return l.next, nil
}

// put is the part of add that cannot fail. The caller holds mu.
func (l *Log) put(encoded line, due bool) {
	b := l.next
	if len(b.lines) == 0 {
		l.age.Reset(maxAge)
	}
	b.lines = append(b.lines, encoded)
	b.bytes += len(encoded.text)
	if due && !b.due {
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
		for l.commitNext() {
		}
	}
}

// commitNext makes the next batch durable if it is due.
func (l *Log) commitNext() bool {
	l.storeMu.Lock()
	defer l.storeMu.Unlock()
	b := l.take()
	if b == nil {
		return false
	}
	durable := false
	err := l.store.with(context.Background(), func() error {
		return l.store.commit(b.lines, func() { durable = true; close(b.done) })
	})
	if err != nil {
		err = l.fail(err)
	}
	if !durable {
		b.err = err
		close(b.done)
	}
	return true
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
