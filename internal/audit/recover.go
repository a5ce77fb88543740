package audit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/verify"
)

// rebuild reads the segments from the record with the given index on, from
// which hashes and index are durable, and brings everything up to date.
func (s *store) rebuild(from int64) error {
	t, tree, err := s.position(from)
	if err != nil { // hashes or index cannot be used: read everything
		t, tree = tail{Version: 1}, verify.Tree{}
	}
	if err := s.openSegment(t.Segment, 0); err != nil {
		if errors.Is(err, os.ErrNotExist) && t.Size == 0 {
			return s.create()
		}
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	s.tail, s.tree = t, tree
	return s.catchUp()
}

// position returns the tail as it was before the record with index n.
func (s *store) position(n int64) (tail, verify.Tree, error) {
	t := tail{Version: 1, Size: n, Synced: n}
	if n == 0 {
		return t, verify.Tree{}, nil
	}
	tree, err := verify.TreeAt(n, hashReader(s.side.hashes))
	if err != nil {
		return t, tree, err
	}
	segments, err := verify.Segments(s.dir)
	if err != nil {
		return t, tree, err
	}
	for _, seg := range segments {
		if seg.First < n {
			t.Segment = seg.First
		}
	}
	// The last record before n begins at its indexed offset; read past it.
	var entry [8]byte
	if _, err := s.side.index.ReadAt(entry[:], (n-1)*verify.IndexEntry); err != nil {
		return t, tree, err
	}
	offset := int64(binary.BigEndian.Uint64(entry[:]))
	f, err := s.disk.open(filepath.Join(s.dir, verify.SegmentName(t.Segment)), os.O_RDONLY)
	if err != nil {
		return t, tree, err
	}
	defer f.Close()
	lines := verify.NewLines(io.NewSectionReader(f, offset, verify.MaxRecord+1), offset)
	if _, err := lines.Next(); err != nil {
		return t, tree, err
	}
	t.grown(&tree)
	t.Offset = lines.Offset()
	return t, tree, nil
}

// catchUp takes in what lies behind the tail: whole records are kept, for
// they may have been acknowledged; what one interrupted write left is cut.
func (s *store) catchUp() error {
	before := s.tail.Size
	if err := s.readAll(); err != nil {
		return err
	}
	if s.tail.Size < s.floor {
		return fmt.Errorf("%w: it had %d records and has %d; restore it, or accept the loss with `carrel log recover --accept-rollback`",
			ErrRolledBack, s.floor, s.tail.Size)
	}
	// Before anything is published the past must be the right one.
	if err := s.second.compare(s); err != nil {
		return err
	}
	if err := s.settle(); err != nil {
		return fmt.Errorf("%w: settling what was found: %w", ErrFull, err)
	}
	if s.tail.Size > before {
		return s.publish(moment{wall: s.tail.WallUS})
	}
	return nil
}

// readAll reads from the tail to the end of the last segment.
func (s *store) readAll() error {
	s.side.seek(s.tail.Size)
	for {
		if err := s.readOn(); err != nil {
			return err
		}
		next := filepath.Join(s.dir, verify.SegmentName(s.tail.Size))
		if _, err := os.Lstat(next); errors.Is(err, os.ErrNotExist) || s.tail.Size == s.segment {
			return errors.Join(s.isLast(), s.side.flush())
		}
		if err := s.openSegment(s.tail.Size, 0); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		s.tail.Segment, s.tail.Offset = s.tail.Size, 0
	}
}

// isLast reports whether the current segment is the last one. A later one that
// does not follow it has lost what was between them.
func (s *store) isLast() error {
	segments, err := verify.Segments(s.dir)
	if err != nil {
		return err
	}
	if last := segments[len(segments)-1].First; last > s.segment {
		return fmt.Errorf("%w: %s ends at record %d and %s exists; see `carrel log verify`",
			ErrDamaged, verify.SegmentName(s.segment), s.tail.Size, verify.SegmentName(last))
	}
	return nil
}

// settle makes durable what the last writer may not have. It writes the bytes
// again: after a failed sync the system takes them for clean, and another sync
// alone would not write them.
func (s *store) settle() error {
	from := max(0, s.tail.Offset-verify.MaxTorn)
	buf := make([]byte, s.tail.Offset-from)
	if _, err := s.seg.ReadAt(buf, from); err != nil {
		return err
	}
	if err := writeAll(s.seg, buf, from); err != nil {
		return err
	}
	return s.seg.sync()
}

// readOn reads the current segment from the tail to its end.
func (s *store) readOn() error {
	info, err := s.seg.Stat()
	if err != nil {
		return err
	}
	start := s.tail.Offset
	lines := verify.NewLines(io.NewSectionReader(s.seg, start, info.Size()-start), start)
	for {
		text, err := lines.Next()
		if err == io.EOF {
			return nil
		}
		var r carrel.Record
		if err == nil {
			r, err = verify.Record(text)
		}
		if err != nil {
			return s.cut(info.Size(), err)
		}
		l := &line{text: append(bytes.Clone(text), '\n'), run: verify.RunKey(r.Run)}
		l.hash()
		s.advance([]*line{l})
		s.tail.WallUS, s.tail.BootUS = r.Time.UnixMicro(), 0
		if len(s.side.hashBuf) > 1<<20 {
			if err := s.side.flush(); err != nil {
				return err
			}
		}
	}
}

// cut takes the torn end off the current segment, keeps a copy of it beside
// the log, and queues a record that says so.
func (s *store) cut(size int64, cause error) error {
	torn := size - s.tail.Offset
	name := verify.SegmentName(s.segment)
	if torn > verify.MaxTorn || s.tail.Size < s.floor {
		return fmt.Errorf("%w: %s, offset %d, record %d: %w; see `carrel log verify`", ErrDamaged, name, s.tail.Offset, s.tail.Size, cause)
	}
	if err := s.isLast(); err != nil {
		return err
	}
	rest := make([]byte, torn)
	if _, err := s.seg.ReadAt(rest, s.tail.Offset); err != nil {
		return fmt.Errorf("reading the torn end of %s: %w", name, err)
	}
	keep := fmt.Sprintf("torn-%d-%d", s.tail.Size, s.tail.Offset)
	if err := replace(s.disk, filepath.Join(s.dir, keep), rest); err != nil {
		return fmt.Errorf("keeping the torn end of %s: %w", name, err)
	}
	if err := s.seg.Truncate(s.tail.Offset); err != nil {
		return fmt.Errorf("cutting the torn end of %s: %w", name, err)
	}
	s.note(map[string]int64{"bytes": torn}, "recovered: an interrupted write left %d bytes, now in %s: %v", torn, keep, cause)
	return nil
}

// create begins a new log.
func (s *store) create() error {
	if segments, err := verify.Segments(s.dir); err != nil || len(segments) > 0 {
		return fmt.Errorf("%w: its first segment is missing", ErrDamaged)
	}
	if err := s.openSegment(0, os.O_CREATE); err != nil {
		return err
	}
	s.tail, s.tree = tail{Version: 1}, verify.Tree{}
	s.side.seek(0)
	return s.disk.syncDir(s.dir)
}
