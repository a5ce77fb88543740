package verify

import (
	"runtime"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
)

// A batch bounds what is read before it is checked: enough to keep every
// processor busy, and little memory.
const (
	batchLines = 1024
	batchBytes = 4 << 20
)

// batch holds lines of a segment, and of each what can be found out without
// those before it. That is most of the work, and is done in parallel.
type batch struct {
	text  []byte
	lines []stored
}

type stored struct {
	offset     int64 // in the segment
	start, end int   // in text
	record     carrel.Record
	leaf       tlog.Hash
	err        error // why it is no record
}

// read fills the batch anew. It returns what ended it early: io.EOF, or what
// is wrong with the line after it.
func (b *batch) read(lines *Lines) error {
	b.text, b.lines = b.text[:0], b.lines[:0]
	for len(b.lines) < batchLines && len(b.text) < batchBytes {
		offset := lines.Offset()
		line, err := lines.Next()
		if err != nil {
			return err
		}
		start := len(b.text)
		b.text = append(b.text, line...)
		b.lines = append(b.lines, stored{offset: offset, start: start, end: len(b.text)})
	}
	return nil
}

// decode looks at every line by itself.
func (b *batch) decode() {
	var group sync.WaitGroup
	part := len(b.lines)/runtime.GOMAXPROCS(0) + 1
	for from := 0; from < len(b.lines); from += part {
		group.Go(func() {
			for i := from; i < min(from+part, len(b.lines)); i++ {
				b.lines[i].decode(b.text)
			}
		})
	}
	group.Wait()
}

func (s *stored) decode(text []byte) {
	line := text[s.start:s.end]
	if s.record, s.err = Record(line); s.err != nil {
		return
	}
	if k := s.record.Kind; k == carrel.KindIntent || k == carrel.KindRefused {
		s.err = checkDigest(&s.record)
	}
	s.leaf = tlog.RecordHash(line)
}
