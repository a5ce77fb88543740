package verify

import (
	"crypto/sha256"
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
	after int64 // offset behind the last line
	end   error // what ended it early: io.EOF, or what is wrong with the line after it
}

// leafPrefix stands before each line in a batch's text, so that the two are
// hashed as one.
const leafPrefix = 0

type stored struct {
	offset     int64 // in the segment
	start, end int   // in text
	record     carrel.Record
	leaf       tlog.Hash
	id, run    [16]byte
	err        error // why it is no record
}

// batches reads a segment ahead: while one batch is taken into account, the
// next is read and decoded.
type batches struct {
	lines *Lines
	spare *batch      // free to be filled
	next  chan *batch // filled
}

func startBatches(lines *Lines, spare [2]*batch) *batches {
	b := &batches{lines, spare[0], make(chan *batch, 1)}
	go b.fill(spare[1])
	return b
}

func (b *batches) fill(into *batch) {
	into.read(b.lines)
	into.decode()
	b.next <- into
}

// take returns the next batch, valid until the call after, and goes on reading.
func (b *batches) take() *batch {
	got := <-b.next
	if got.end == nil {
		go b.fill(b.spare)
		b.spare = got
	}
	return got
}

// stop waits for what was still read ahead.
func (b *batches) stop(last *batch) {
	if last == nil || last.end == nil {
		<-b.next
	}
}

// read fills the batch anew.
func (b *batch) read(lines *Lines) {
	b.text, b.lines, b.end = b.text[:0], b.lines[:0], nil
	for b.end == nil && len(b.lines) < batchLines && len(b.text) < batchBytes {
		offset := lines.Offset()
		var line []byte
		if line, b.end = lines.Next(); b.end == nil {
			start := len(b.text) + 1
			b.text = append(append(b.text, leafPrefix), line...)
			b.lines = append(b.lines, stored{offset: offset, start: start, end: len(b.text)})
		}
	}
	b.after = lines.Offset()
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
	s.leaf = sha256.Sum256(text[s.start-1 : s.end]) // as tlog.RecordHash, without a copy
	s.id, s.run = carrel.IDBytes(string(s.record.ID)), RunKey(s.record.Run)
}
