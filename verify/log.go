package verify

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
)

// Options of Log. The zero value checks everything.
type Options struct {
	// From, if set, is a checkpoint that was checked before: only what came
	// after it is read, and the log must still contain it.
	From *Checkpoint
	// Newest, if set, is the newest checkpoint kept outside the log. The log
	// must contain it, else it was rolled back or replaced.
	Newest []byte
	// Progress, if set, is called now and then with the bytes read so far and
	// those there are.
	Progress func(done, total int64)
}

// Report says what was checked of a log in which no fault was found.
type Report struct {
	Size       int64       // records in the log
	Checked    int64       // records that were read
	Root       tlog.Hash   // of all records
	Key        string      // that signs the log now: the one given, or what it was handed to
	Checkpoint *Checkpoint // the newest one whose signature was checked; nil: none was found
	Unsigned   int64       // records after that checkpoint
	Torn       int64       // bytes of an unfinished write at the end; the next writer cuts them
	Runs       int         // runs that were closed with their full count
	Open       []carrel.RunID
	Unknown    []carrel.ActionID // intents without a result: nobody knows what became of them
}

// Log checks the log in dir against its public key, or one it once had: framing and canonical form
// of every record, the tree against the signed checkpoint and the stored
// hashes, the numbers of each run, and that results have intents. The first
// thing that is wrong is returned as a *Fault; other errors mean that the log
// could not be read.
func Log(ctx context.Context, dir, key string, o Options) (Report, error) {
	key, err := CurrentKey(dir, key)
	if err != nil {
		return Report{}, err
	}
	c := &checker{dir: dir, runs: newRuns(o.From != nil), progress: o.Progress, batches: [2]*batch{{}, {}}}
	if err := c.expect(key, o); err != nil {
		return Report{}, err
	}
	defer c.close()
	if err := c.open(o.From); err != nil {
		return Report{}, err
	}
	if err := c.segments(ctx); err != nil {
		return Report{}, err
	}
	report, err := c.report()
	report.Key = key
	return report, err
}

// checker reads a log from front to back.
type checker struct {
	dir      string
	runs     *runs
	progress func(done, total int64)

	tree   Tree
	start  int64
	offset int64 // in the current segment
	torn   int64
	done   int64
	total  int64

	expected      []expected // checkpoints that the tree must pass through
	newest        *Checkpoint
	hashes, index *sideFile
	batches       [2]*batch   // scratch
	stored        []tlog.Hash // scratch
	ids           recentIDs
}

type expected struct {
	Checkpoint
	where string
}

// expect reads the checkpoints that the log must contain.
func (c *checker) expect(key string, o Options) error {
	signed, err := readRegular(filepath.Join(c.dir, CheckpointFile), maxCheckpoint)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return &Fault{File: CheckpointFile, Reason: err.Error()}
	default:
		if err := c.expectSigned(signed, key, CheckpointFile); err != nil {
			return err
		}
	}
	if err := c.expectCosigned(key, o.From); err != nil {
		return err
	}
	if o.Newest != nil {
		return c.expectSigned(o.Newest, key, "the checkpoint kept elsewhere")
	}
	return nil
}

// expectCosigned reads the newest checkpoint that witnesses have cosigned, if
// there is one by the key in force that lies in what is read.
func (c *checker) expectCosigned(key string, from *Checkpoint) error {
	signed, err := readRegular(filepath.Join(c.dir, CosignedFile), maxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &Fault{File: CosignedFile, Reason: err.Error()}
	}
	p, err := OpenCheckpoint(signed, key)
	if errors.Is(err, ErrUntrusted) || err == nil && from != nil && p.Size < from.Size {
		return nil
	}
	return c.expectSigned(signed, key, CosignedFile)
}

func (c *checker) expectSigned(signed []byte, key, where string) error {
	p, err := OpenCheckpoint(signed, key)
	if err != nil {
		return &Fault{File: where, Reason: err.Error()}
	}
	if c.newest == nil || p.Size > c.newest.Size {
		c.newest = &p
	}
	c.expected = append(c.expected, expected{p, where})
	return nil
}

// open prepares the derived files, and the tree when reading from the middle.
func (c *checker) open(from *Checkpoint) error {
	var err error
	if from != nil {
		f, err := openRegular(filepath.Join(c.dir, HashesFile))
		if err != nil {
			return fmt.Errorf("reading from the middle: %w", err)
		}
		defer f.Close()
		if c.tree, err = TreeAt(from.Size, tlog.HashReaderFunc(func(n []int64) ([]tlog.Hash, error) { return readHashes(f, n) })); err != nil {
			return err
		}
		if c.tree.Root() != from.Root {
			return &Fault{HashesFile, 0, from.Size, "the log does not contain the checkpoint to begin from; check it from the start"}
		}
		c.start = from.Size
	}
	if c.hashes, err = openSide(c.dir, HashesFile, tlog.StoredHashCount(c.start)*tlog.HashSize); err != nil {
		return err
	}
	c.index, err = openSide(c.dir, IndexFile, c.start*IndexEntry)
	return err
}

func (c *checker) close() { c.hashes.close(); c.index.close() }

func (c *checker) segments(ctx context.Context) error {
	segments, err := Segments(c.dir)
	if err != nil {
		return err
	}
	if len(segments) == 0 || segments[0].First != 0 {
		return &Fault{SegmentName(0), 0, 0, "the first segment is missing"}
	}
	for len(segments) > 1 && segments[1].First <= c.start {
		segments = segments[1:]
	}
	for _, s := range segments {
		if info, err := os.Lstat(s.Path); err == nil {
			c.total += info.Size()
		}
	}
	if err := c.meet(); err != nil {
		return err
	}
	for i, s := range segments {
		if i > 0 && s.First != c.tree.Size() {
			return &Fault{filepath.Base(s.Path), 0, c.tree.Size(), "the segment does not follow the one before it"}
		}
		if err := c.segment(ctx, s, i == len(segments)-1); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) segment(ctx context.Context, s Segment, last bool) error {
	name := filepath.Base(s.Path)
	f, err := openRegular(s.Path)
	if err != nil {
		return &Fault{name, 0, c.tree.Size(), err.Error()}
	}
	defer f.Close()
	if c.offset, err = c.skip(f, s); err != nil {
		return &Fault{name, 0, c.tree.Size(), err.Error()}
	}
	ahead := startBatches(NewLines(f, c.offset), c.batches)
	var b *batch
	defer func() { ahead.stop(b) }() // before f is closed
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		b = ahead.take()
		if c.progress != nil {
			c.progress(c.done+b.after, c.total)
		}
		if err := c.records(name, b); err != nil {
			return err
		}
		c.offset = b.after
		switch {
		case b.end == nil:
		case b.end == io.EOF:
			c.done += b.after
			return nil
		case last && b.end == ErrTorn && c.grew(f):
			if _, err := f.Seek(c.offset, io.SeekStart); err != nil {
				return &Fault{name, c.offset, c.tree.Size(), err.Error()}
			}
			ahead, b = startBatches(NewLines(f, c.offset), c.batches), nil
		case last && c.isTorn(f):
			return nil
		default:
			return &Fault{name, c.offset, c.tree.Size(), b.end.Error()}
		}
	}
}

// records takes the records of a batch into account, one after the other.
func (c *checker) records(name string, b *batch) error {
	for i := range b.lines {
		s := &b.lines[i]
		c.offset = s.offset
		err := c.record(s)
		var fault *Fault
		if errors.As(err, &fault) {
			return fault
		}
		if err != nil {
			return &Fault{name, c.offset, c.tree.Size(), err.Error()}
		}
	}
	return nil
}

// skip finds where the record to begin with lies in its segment.
func (c *checker) skip(f *os.File, s Segment) (int64, error) {
	if s.First >= c.tree.Size() {
		return 0, nil
	}
	lines := NewLines(f, 0)
	for range c.tree.Size() - s.First {
		if _, err := lines.Next(); err != nil {
			return 0, fmt.Errorf("finding the record to begin with: %w", err)
		}
	}
	_, err := f.Seek(lines.Offset(), io.SeekStart)
	return lines.Offset(), err
}

// grew reports whether the line that was unfinished is whole by now: somebody
// is writing to the log.
func (c *checker) grew(f *os.File) bool {
	now, err := io.ReadAll(io.NewSectionReader(f, c.offset, MaxRecord+1))
	return err == nil && bytes.IndexByte(now, '\n') >= 0
}

// isTorn reports whether what is left of the last segment is what an
// interrupted write leaves: an unfinished line, or zeros where blocks never
// reached the device. What a checkpoint covers was whole once.
func (c *checker) isTorn(f *os.File) bool {
	if c.newest != nil && c.newest.Size > c.tree.Size() {
		return false
	}
	rest, err := io.ReadAll(io.NewSectionReader(f, c.offset, MaxTorn+1))
	if err != nil || len(rest) > MaxTorn {
		return false
	}
	c.torn = int64(len(rest))
	return bytes.IndexByte(rest, '\n') < 0 || bytes.IndexByte(rest, 0) >= 0
}

// record takes one more record into account.
func (c *checker) record(s *stored) error {
	if s.err != nil {
		return s.err
	}
	r := &s.record
	if c.ids.seen(s.id) {
		return fmt.Errorf("record id %s occurs twice", r.ID)
	}
	if err := c.runs.add(r); err != nil {
		return err
	}
	n := c.tree.Size()
	c.stored = c.tree.Append(s.leaf, c.stored[:0])
	for _, h := range c.stored {
		if err := c.hashes.match(h[:], n); err != nil {
			return err
		}
	}
	var entry [IndexEntry]byte
	binary.BigEndian.PutUint64(entry[:], uint64(c.offset))
	copy(entry[8:], s.run[:])
	if err := c.index.match(entry[:], n); err != nil {
		return err
	}
	return c.meet()
}

// meet compares the tree with the checkpoints of its size.
func (c *checker) meet() error {
	for _, e := range c.expected {
		if e.Size == c.tree.Size() && e.Root != c.tree.Root() {
			return fmt.Errorf("the first %d records do not have the root that %s signed: a record was changed, removed, added or moved", e.Size, e.where)
		}
	}
	return nil
}

func (c *checker) report() (Report, error) {
	for _, e := range c.expected {
		if e.Size > c.tree.Size() {
			return Report{}, &Fault{e.where, 0, c.tree.Size(), fmt.Sprintf("it signed %d records and the log has %d: the log was cut or rolled back", e.Size, c.tree.Size())}
		}
		if e.Size < c.start {
			return Report{}, &Fault{e.where, 0, c.start, "it is older than the checkpoint to begin from; check the log from the start"}
		}
	}
	r := Report{Size: c.tree.Size(), Checked: c.tree.Size() - c.start, Root: c.tree.Root(), Checkpoint: c.newest, Unsigned: c.tree.Size(), Torn: c.torn, Runs: len(c.runs.closed)}
	if c.newest != nil {
		r.Unsigned -= c.newest.Size
	}
	for run := range c.runs.last {
		r.Open = append(r.Open, run)
	}
	for action := range c.runs.intents {
		r.Unknown = append(r.Unknown, action)
	}
	return r, nil
}
