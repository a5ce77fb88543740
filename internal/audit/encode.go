package audit

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/verify"
)

// ErrTooLarge says that a record is over the limit of the log. The record was
// not taken; the log goes on.
var ErrTooLarge = errors.New("record too large: put its payload into the content store and record the digest")

// pendingSeq stands for a sequence number that is not known yet. It is the
// largest number that canonical JSON can hold.
const pendingSeq = 1<<53 - 1

var seqMember = []byte(`"run_seq":` + strconv.Itoa(pendingSeq) + `,`)

// line is one encoded record on its way to the segment.
type line struct {
	text []byte // with its newline
	run  [16]byte
	leaf tlog.Hash // set by hash
}

// stamp fills in what the log adds to every record.
func stamp(r *carrel.Record) {
	at := now()
	r.Version = carrel.RecordVersion
	r.ID = carrel.NewRecordID()
	r.Time = time.UnixMicro(at.wall).UTC()
	r.Boot = at.boot
	r.RunSeq = 0
}

// encode returns the stored form of a stamped record, or why it is none.
func encode(r *carrel.Record) (*line, error) {
	if err := verify.CheckRecord(r); err != nil {
		return nil, fmt.Errorf("encoding record: %w", err)
	}
	b, err := carrel.Canonical(r)
	if err != nil {
		return nil, fmt.Errorf("encoding record: %w", err)
	}
	if len(b) > verify.MaxRecord {
		return nil, fmt.Errorf("%w (%s, %d bytes, limit %d)", ErrTooLarge, r.Kind, len(b), verify.MaxRecord)
	}
	return &line{text: append(b, '\n'), run: verify.RunKey(r.Run)}, nil
}

// setSeq replaces pendingSeq in an encoded record, or removes the member when
// seq is 0. Only "time" and "v" sort after "run_seq", so the last occurrence
// is the record's own.
func (l *line) setSeq(seq int64) {
	at := bytes.LastIndex(l.text, seqMember)
	if at < 0 {
		return
	}
	out, rest := l.text[:at], l.text[at+len(seqMember):]
	if seq > 0 {
		out = append(strconv.AppendInt(append(out, `"run_seq":`...), seq, 10), ',')
	}
	l.text = append(out, rest...) // moves it to the left: pendingSeq is the longest
}

// hash computes the record's leaf in the tree. The text must be final.
func (l *line) hash() { l.leaf = tlog.RecordHash(l.text[:len(l.text)-1]) }
