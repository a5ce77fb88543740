package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/carrel-dev/carrel"
)

// Entry is one record with its place in the log.
type Entry struct {
	Index  int64
	Record carrel.Record
	Raw    []byte // as stored and hashed, without the newline
}

// Reader reads a log without locking it. It sees whole records only, also
// such as a writer has written and not yet made durable. It is safe for
// concurrent use.
type Reader struct {
	dir  string
	disk disk
}

// OpenReader returns a reader of the log in dir. A log that does not exist
// yet reads as empty.
func OpenReader(dir string) *Reader { return &Reader{dir, realDisk{}} }

// From yields the records from the given index on, to the end. What is past
// its retention is left out.
func (r *Reader) From(ctx context.Context, index int64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		index, err := r.shown(index)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		r.every(ctx, index)(yield)
	}
}

// every is From without regard to retention.
func (r *Reader) every(ctx context.Context, index int64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		c := cursor{reader: r, next: index}
		defer c.close()
		for {
			e, err := c.read(ctx)
			if err == io.EOF || !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// followEvery is how often Follow looks for new records.
const followEvery = 100 * time.Millisecond

// Follow yields the records from the given index on and then those that are
// appended, until ctx ends.
func (r *Reader) Follow(ctx context.Context, index int64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		index, err := r.shown(index)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		c := cursor{reader: r, next: index}
		defer c.close()
		for {
			e, err := c.read(ctx)
			if err == io.EOF {
				if !sleep(ctx, followEvery) {
					return
				}
				continue
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Run yields the records of one run in order, those included that other
// processes wrote about it.
func (r *Reader) Run(ctx context.Context, run carrel.RunID) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		indexed, found, err := r.find(run)
		minimum, merr := r.Minimum()
		if err = errors.Join(err, merr); err != nil {
			yield(Entry{}, err)
			return
		}
		c := cursor{reader: r}
		defer c.close()
		for _, n := range found {
			if n < minimum {
				continue
			}
			c.seek(n)
			e, err := c.read(ctx)
			if err == nil && e.Record.Run != run {
				err = fmt.Errorf("%w: the index names record %d for run %s; see `carrel log verify`", ErrDamaged, n, run)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
		for e, err := range r.From(ctx, indexed) { // what the index does not cover
			if err == nil && e.Record.Run != run {
				continue
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Size returns the number of whole records.
func (r *Reader) Size(ctx context.Context) (int64, error) {
	indexed, err := r.indexed()
	if err != nil {
		return 0, err
	}
	c := cursor{reader: r, next: indexed}
	defer c.close()
	for {
		switch _, err := c.read(ctx); {
		case err == io.EOF:
			return c.next, nil
		case err != nil:
			return 0, err
		}
	}
}
