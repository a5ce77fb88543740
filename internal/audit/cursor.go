package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/verify"
)

// cursor reads records in order, from segment to segment. Its zero position
// is before the record next.
type cursor struct {
	reader *Reader
	next   int64 // index of the record to read next
	f      file  // the segment it stands in; nil: find it
	first  int64 // of f
	offset int64 // in f, of the record at
	at     int64
	lines  *verify.Lines // from offset on; nil: begin again there
}

func (c *cursor) close() {
	if c.f != nil {
		c.f.Close()
		c.f, c.lines = nil, nil
	}
}

// nearby is how many records are read over rather than looked up.
const nearby = 256

// seek makes n the record to read next.
func (c *cursor) seek(n int64) {
	if n < c.at || n > c.at+nearby {
		c.close()
	}
	c.next = n
}

// read returns the next record, or io.EOF where the log ends for now.
func (c *cursor) read(ctx context.Context) (Entry, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Entry{}, err
		}
		text, err := c.line()
		if err != nil {
			return Entry{}, err
		}
		if c.at++; c.at <= c.next {
			continue // on the way to the record that was asked for
		}
		record, err := verify.Record(text)
		if err != nil {
			return Entry{}, c.damaged(err)
		}
		c.next++
		return Entry{c.at - 1, record, append([]byte(nil), text...)}, nil
	}
}

func (c *cursor) damaged(err error) error {
	return fmt.Errorf("%w: record %d: %w; see `carrel log verify`", ErrDamaged, c.next, err)
}

// line returns the next line of the log.
func (c *cursor) line() ([]byte, error) {
	for grown := false; ; {
		if c.f == nil {
			if err := c.place(); err != nil {
				return nil, err
			}
		}
		if c.lines == nil {
			c.lines = verify.NewLines(io.NewSectionReader(c.f, c.offset, math.MaxInt64-c.offset), c.offset)
		}
		text, err := c.lines.Next()
		switch {
		case err == nil:
			return text, nil
		case err != io.EOF && !errors.Is(err, verify.ErrTorn):
			return nil, c.damaged(err)
		}
		c.offset, c.lines = c.lines.Offset(), nil // there may be more here later
		err = c.nextSegment()
		if errors.Is(err, errGrown) {
			// It may have come between the two looks; then it is there now.
			if grown {
				return nil, c.damaged(verify.ErrTorn)
			}
			grown, err = true, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// errGrown says that the index has the record at which the log seemed to end.
var errGrown = errors.New("indexed by now")

// nextSegment goes on to the segment after this one, or returns io.EOF.
func (c *cursor) nextSegment() error {
	if c.at == c.first {
		return c.end()
	}
	f, err := c.reader.open(verify.SegmentName(c.at))
	if errors.Is(err, fs.ErrNotExist) {
		return c.end()
	}
	if err != nil {
		return err
	}
	c.f.Close()
	c.f, c.first, c.offset = f, c.at, 0
	return nil
}

// end returns io.EOF if the log may end here, errGrown if not: everything that
// is indexed is whole in its segment before.
func (c *cursor) end() error {
	indexed, err := c.reader.indexed()
	if err == nil && c.at < indexed {
		return errGrown
	}
	if err != nil {
		return err
	}
	return io.EOF
}

// place finds the record next, by the index if that covers it.
func (c *cursor) place() error {
	segments, err := verify.Segments(c.reader.dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(segments) == 0 {
		return io.EOF
	}
	if err != nil {
		return err
	}
	last := segments[0]
	for _, s := range segments {
		if s.First <= c.next {
			last = s
		}
	}
	c.first, c.at, c.offset = last.First, last.First, 0
	if offset, ok := c.reader.offset(c.next); ok && c.next > c.first {
		c.at, c.offset = c.next, offset
	}
	c.f, err = c.reader.open(verify.SegmentName(c.first))
	return err
}

func (r *Reader) open(name string) (file, error) {
	return r.disk.open(filepath.Join(r.dir, name), os.O_RDONLY)
}

// offset returns where in its segment the record with index n begins.
func (r *Reader) offset(n int64) (int64, bool) {
	f, err := r.open(verify.IndexFile)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	var b [8]byte
	if _, err := f.ReadAt(b[:], n*verify.IndexEntry); err != nil {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(b[:])), true
}

// indexed returns how many records the index covers.
func (r *Reader) indexed() (int64, error) {
	f, err := r.open(verify.IndexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("looking at the log's index: %w", err)
	}
	return info.Size() / verify.IndexEntry, nil
}

// find returns the indexes of a run's records, as far as the index goes, and
// how far that is.
func (r *Reader) find(run carrel.RunID) (indexed int64, found []int64, err error) {
	if indexed, err = r.indexed(); err != nil || indexed == 0 {
		return 0, nil, err
	}
	f, err := r.open(verify.IndexFile)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	want := verify.RunKey(run)
	if want == [16]byte{} { // stands for no run in the index
		return indexed, nil, nil
	}
	buf := make([]byte, 4096*verify.IndexEntry)
	for n := int64(0); n < indexed; {
		chunk := buf[:min(int64(len(buf)), (indexed-n)*verify.IndexEntry)]
		if _, err := f.ReadAt(chunk, n*verify.IndexEntry); err != nil {
			return 0, nil, fmt.Errorf("reading the log's index: %w", err)
		}
		for ; len(chunk) > 0; chunk, n = chunk[verify.IndexEntry:], n+1 {
			if [16]byte(chunk[8:verify.IndexEntry]) == want {
				found = append(found, n)
			}
		}
	}
	return indexed, found, nil
}
