package verify

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Names of the files in a log's directory (spec/log.md).
const (
	CheckpointFile = "checkpoint" // newest signed checkpoint
	CosignedFile   = "cosigned"   // newest checkpoint that witnesses have cosigned
	HashesFile     = "hashes"     // stored hashes of the tree, 32 bytes each; derived
	IndexFile      = "index"      // offset and run of each record, IndexEntry bytes each; derived

	segmentSuffix = ".jsonl"
	segmentDigits = 16
)

// IndexEntry is the size of one entry of the index: eight bytes of offset in
// the segment, big endian, and the sixteen bytes of the run's identifier.
const IndexEntry = 24

// MaxTorn is the most that one interrupted write can leave behind: a log writes
// no more at once, and makes it durable before it writes again. More unreadable
// bytes than that are damage.
const MaxTorn = 1<<20 + 4*MaxRecord

// Segment is one file of records.
type Segment struct {
	Path  string
	First int64 // index of its first record
}

// SegmentName returns the name of the segment whose first record has the
// given index.
func SegmentName(first int64) string {
	return fmt.Sprintf("%0*d%s", segmentDigits, first, segmentSuffix)
}

// Segments lists the segments of a log in order. Other files are not looked at.
func Segments(dir string) ([]Segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing the log: %w", err)
	}
	var out []Segment
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if !ok || len(digits) != segmentDigits {
			continue
		}
		first, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || SegmentName(first) != e.Name() {
			continue
		}
		out = append(out, Segment{filepath.Join(dir, e.Name()), first})
	}
	slices.SortFunc(out, func(a, b Segment) int { return int(min(max(a.First-b.First, -1), 1)) })
	return out, nil
}

// ErrTorn says that a segment ends before its last line does, or in zeros:
// what a write that was cut short leaves behind.
var ErrTorn = errors.New("the last line is not whole")

// Lines reads the lines of a segment one by one.
type Lines struct {
	r      *bufio.Reader
	offset int64
}

// NewLines reads lines from r, whose first byte is at the given offset of the
// segment.
func NewLines(r io.Reader, offset int64) *Lines {
	return &Lines{r: bufio.NewReaderSize(r, 256<<10), offset: offset}
}

// Offset returns where the next line begins.
func (l *Lines) Offset() int64 { return l.offset }

// Next returns the next line without its newline, valid until the next call.
// At the end it returns io.EOF, in an unfinished line ErrTorn, and for a line
// that no record can fill an error.
func (l *Lines) Next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	switch {
	case err == io.EOF && len(line) == 0:
		return nil, io.EOF
	case err == io.EOF:
		return nil, ErrTorn
	case err != nil && !errors.Is(err, bufio.ErrBufferFull):
		return nil, err
	case len(line) > MaxRecord+1 || err != nil:
		return nil, fmt.Errorf("line over the limit of %d bytes", MaxRecord)
	case bytes.IndexByte(line, 0) >= 0:
		return nil, fmt.Errorf("%w: zero bytes", ErrTorn)
	}
	l.offset += int64(len(line))
	return line[:len(line)-1], nil
}
