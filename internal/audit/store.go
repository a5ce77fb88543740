package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/verify"
)

// Errors of a log that refuses to go on. Each says what a person can do.
var (
	ErrRolledBack = errors.New("the log was rolled back")
	ErrDamaged    = errors.New("the log is damaged")
	ErrFull       = errors.New("the log cannot grow")
)

// store is the log on disk. Everything in it is used by one goroutine at a
// time, with the lock held.
type store struct {
	dir      string
	disk     disk
	lock     *lock
	second   second
	rotate   int64 // bytes after which a segment is closed
	boot     string
	seg      file
	segment  int64 // index of the first record of seg
	reserved int64 // blocks of seg were found up to here; 0: none
	side     side
	tailF    file
	tailRaw  []byte // the tail file as last read or written
	tail     tail
	tree     verify.Tree
	buf      []byte          // scratch of write
	stored   []tlog.Hash     // scratch of advance
	floor    int64           // as many records were acknowledged, as far as is remembered
	waited   time.Duration   // for the disk, the last time
	grown    *moment         // of the batch that is not yet published; nil: none
	notes    []carrel.Record // what the log has to say about itself, for the next batch
}

// with runs f with the lock held and the tail up to date.
func (s *store) with(ctx context.Context, f func() error) error {
	if err := s.lock.take(ctx); err != nil {
		return err
	}
	err := s.look()
	if err == nil {
		err = f()
	}
	return errors.Join(err, s.lock.drop())
}

// look brings the view of the log up to date: another process may have
// appended to it, or died in the middle of doing so.
func (s *store) look() error {
	raw, err := readPrefix(s.tailF, maxTail)
	if err != nil {
		return fmt.Errorf("reading the log's tail: %w", err)
	}
	mark, marked, err := s.second.read()
	if err != nil {
		return err
	}
	s.floor = max(mark.Size, s.tail.Size)
	if s.seg == nil || !bytes.HasPrefix(raw, s.tailRaw) {
		if err := s.adopt(raw); err != nil {
			return err
		}
	}
	info, err := s.seg.Stat()
	if err != nil {
		return fmt.Errorf("looking at the log's segment: %w", err)
	}
	switch {
	case info.Size() < s.tail.Offset:
		return fmt.Errorf("%w: segment %d has %d bytes and had %d; restore it, or accept the loss with `carrel log recover --accept-rollback`",
			ErrRolledBack, s.segment, info.Size(), s.tail.Offset)
	case info.Size() > s.tail.Offset, mark.Size > s.tail.Size:
		return s.catchUp() // compares, too
	}
	if !marked {
		return nil
	}
	return s.contains(mark.Size, tlog.Hash(mark.Root), s.second.path+".head")
}

// adopt takes over the tail that was found on disk.
func (s *store) adopt(raw []byte) error {
	var t tail
	if err := unseal(raw, &t); err != nil || t.check() != nil {
		if err == nil && t.Version != 1 {
			return t.check()
		}
		return s.rebuild(0)
	}
	tree, err := t.tree()
	if err != nil {
		return err
	}
	s.floor = max(s.floor, t.Size)
	if t.Boot != s.boot || s.boot == "" {
		if s.seg == nil { // the first look since the machine started
			return s.rebuild(t.Synced)
		}
	}
	if err := s.openSegment(t.Segment, 0); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	s.tail, s.tree, s.tailRaw = t, tree, raw[:bytes.IndexByte(raw, '\n')+1]
	s.side.seek(t.Size)
	return nil
}

// openSegment makes the segment whose first record is first the current one.
func (s *store) openSegment(first int64, flag int) error {
	if s.seg != nil && s.segment == first {
		return nil
	}
	f, err := s.disk.open(filepath.Join(s.dir, verify.SegmentName(first)), os.O_RDWR|flag)
	if err != nil {
		return err
	}
	if s.seg != nil {
		s.seg.Close()
	}
	s.seg, s.segment, s.reserved = f, first, 0
	return nil
}

// write appends lines durably. When it fails nothing of them stays, as far as
// the disk still obeys; when it succeeds they are durable, and advance must
// follow.
func (s *store) write(lines []*line) error {
	if s.tail.Offset >= s.rotate {
		if err := s.nextSegment(); err != nil {
			return err
		}
	}
	s.buf = s.buf[:0]
	for _, l := range lines {
		s.buf = append(s.buf, l.text...)
	}
	s.reserveBlocks()
	start := time.Now()
	err := writeAll(s.seg, s.buf, s.tail.Offset)
	if err == nil {
		err = s.seg.sync()
	}
	s.waited = time.Since(start)
	if err != nil {
		// What was written is in doubt: take it out, so that it is not found
		// in memory now and missing after a power cut.
		return errors.Join(fmt.Errorf("%w: %w", ErrFull, err), s.seg.Truncate(s.tail.Offset))
	}
	return nil
}

const (
	blockAhead = 4 << 20 // blocks found at once
	busyBatch  = 4 << 10 // a batch that is larger says that more will come
)

// reserveBlocks finds blocks for a busy log ahead of the batch in buf.
func (s *store) reserveBlocks() {
	end := s.tail.Offset + int64(len(s.buf))
	if len(s.buf) < busyBatch || end <= s.reserved {
		return
	}
	s.reserved = end + blockAhead
	if s.seg.reserve(s.tail.Offset, s.reserved-s.tail.Offset) != nil {
		s.reserved = math.MaxInt64 // not here, or not now: do without in this segment
	}
}

// nextSegment starts a new segment after the current one.
func (s *store) nextSegment() error {
	if s.reserved > 0 { // give back blocks that were not needed
		if err := s.seg.Truncate(s.tail.Offset); err != nil {
			return fmt.Errorf("%w: ending a segment: %w", ErrFull, err)
		}
	}
	if err := s.openSegment(s.tail.Size, os.O_CREATE); err != nil {
		return fmt.Errorf("%w: starting a segment: %w", ErrFull, err)
	}
	s.tail.Segment, s.tail.Offset = s.tail.Size, 0
	if err := s.disk.syncDir(s.dir); err != nil {
		return fmt.Errorf("%w: starting a segment: %w", ErrFull, err)
	}
	info, err := s.seg.Stat()
	if err != nil {
		return fmt.Errorf("%w: starting a segment: %w", ErrFull, err)
	}
	if info.Size() > 0 { // another process died after it had started it
		return s.catchUp()
	}
	return nil
}

// advance moves the tail over lines that are durable at its offset.
func (s *store) advance(lines []*line) {
	for _, l := range lines {
		s.stored = s.tree.Append(l.leaf, s.stored[:0])
		s.side.add(s.stored, s.tail.Offset, l.run)
		s.tail.Offset += int64(len(l.text))
	}
	s.tail.grown(&s.tree)
}

// publishGrown publishes the last batch, if it is not yet.
func (s *store) publishGrown() error {
	if s.grown == nil {
		return nil
	}
	if err := s.derive(*s.grown); err != nil {
		return err
	}
	s.grown = nil
	return s.syncSides()
}

// publish writes what is derived from the segments, and the mark in the second
// place. The segments can make up for all of it.
func (s *store) publish(at moment) error {
	if err := s.derive(at); err != nil {
		return err
	}
	return s.second.mark(s.tail.Size, s.tree.Root())
}

// derive writes hashes, index and the tail.
func (s *store) derive(at moment) error {
	if err := s.side.flush(); err != nil {
		return err
	}
	s.tail.Version, s.tail.Boot = 1, s.boot
	s.tail.WallUS, s.tail.BootUS = at.wall, at.boot
	raw, err := seal(&s.tail)
	if err != nil {
		return err
	}
	if err := writeAll(s.tailF, raw, 0); err != nil {
		return fmt.Errorf("writing the log's tail: %w", err)
	}
	s.tailRaw = raw
	return nil
}

// syncEvery is how many records may pass before hashes and index are made
// durable, and so how many are read again after the machine restarted.
const syncEvery = 16 << 10

// syncSides makes hashes and index durable now and then.
func (s *store) syncSides() error {
	if s.tail.Size-s.tail.Synced < syncEvery {
		return nil
	}
	if err := s.side.sync(); err != nil {
		return err
	}
	s.tail.Synced = s.tail.Size
	return nil
}

func (s *store) root() tlog.Hash { return s.tree.Root() }

// note queues a record of the log about itself.
func (s *store) note(counts map[string]int64, format string, args ...any) {
	s.notes = append(s.notes, carrel.Record{Kind: carrel.KindLog, Note: carrel.Text(fmt.Sprintf(format, args...)), Counts: counts})
}

// takeNotes encodes the queued notes, and one about the clock if it jumped.
func (s *store) takeNotes(at moment) ([]*line, error) {
	last := moment{s.tail.WallUS, s.tail.BootUS}
	if d := jump(last, at, s.tail.Boot == s.boot && last.boot > 0); d != 0 {
		s.note(map[string]int64{"jump_us": d}, "clock_jump: the wall clock jumped by %v", time.Duration(d)*time.Microsecond)
	}
	var out []*line
	for _, r := range s.notes {
		stamp(&r)
		l, err := encode(&r)
		if err != nil {
			return nil, err
		}
		l.hash()
		out = append(out, l)
	}
	s.notes = nil
	return out, nil
}

func (s *store) close() error {
	var errs []error
	for _, f := range []file{s.seg, s.tailF, s.side.hashes, s.side.index, s.second.head} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	s.lock.close()
	return errors.Join(errs...)
}
