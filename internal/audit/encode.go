package audit

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

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
	run  carrel.RunID
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
func encode(r carrel.Record) (line, error) {
	if err := verify.CheckRecord(&r); err != nil {
		return line{}, fmt.Errorf("encoding record: %w", err)
	}
	b, err := carrel.Canonical(r)
	if err != nil {
		return line{}, fmt.Errorf("encoding record: %w", err)
	}
	if len(b) > verify.MaxRecord {
		return line{}, fmt.Errorf("%w (%s, %d bytes, limit %d)", ErrTooLarge, r.Kind, len(b), verify.MaxRecord)
	}
	return line{append(b, '\n'), r.Run}, nil
}

// setSeq replaces pendingSeq in an encoded record, or removes the member when
// seq is 0. Only "time" and "v" sort after "run_seq", so the last occurrence
// is the record's own.
func (l *line) setSeq(seq int64) {
	at := bytes.LastIndex(l.text, seqMember)
	if at < 0 {
		return
	}
	var member []byte
	if seq > 0 {
		member = append(strconv.AppendInt([]byte(`"run_seq":`), seq, 10), ',')
	}
	rest := l.text[at+len(seqMember):]
	l.text = append(append(l.text[:at], member...), rest...)
}
