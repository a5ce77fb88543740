package carrel

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Identifiers are a prefix and 26 characters that sort by creation time
// (48 bits of Unix milliseconds, then 80 random bits, Crockford base 32 in
// lower case, as ULIDs are). Distinct things have distinct types.
type (
	RunID    string // run_…
	ActionID string // act_…
	ChangeID string // chg_…
	DeskID   string // dsk_…
	RecordID string // rec_…
)

const crockfordDigits = "0123456789abcdefghjkmnpqrstvwxyz"

var crockford = base32.NewEncoding(crockfordDigits).WithPadding(base32.NoPadding)

// entropy hands out random bytes from the system's generator, many at a time:
// an identifier needs few and a call costs more than they do.
var entropy = sync.Pool{New: func() any { return new(randomBytes) }}

type randomBytes struct {
	buf  [640]byte
	left int
}

func (r *randomBytes) read(b []byte) {
	if r.left < len(b) {
		_, _ = rand.Read(r.buf[:]) // never returns an error (Go 1.24 and later)
		r.left = len(r.buf)
	}
	from := r.buf[r.left-len(b) : r.left]
	copy(b, from)
	clear(from)
	r.left -= len(b)
}

func newID(prefix string) string {
	var b [16]byte
	ms := uint64(time.Now().UnixMilli())
	binary.BigEndian.PutUint64(b[:8], ms<<16)
	r := entropy.Get().(*randomBytes)
	r.read(b[6:])
	entropy.Put(r)
	var text [32]byte
	n := copy(text[:], prefix)
	crockford.Encode(text[n:], b[:])
	return string(text[:n+26])
}

// NewRunID returns a fresh run identifier.
func NewRunID() RunID { return RunID(newID("run_")) }

// NewActionID returns a fresh action identifier.
func NewActionID() ActionID { return ActionID(newID("act_")) }

// NewChangeID returns a fresh change identifier.
func NewChangeID() ChangeID { return ChangeID(newID("chg_")) }

// NewDeskID returns a fresh desk identifier.
func NewDeskID() DeskID { return DeskID(newID("dsk_")) }

// NewRecordID returns a fresh record identifier.
func NewRecordID() RecordID { return RecordID(newID("rec_")) }

// digitOf is the value of each Crockford digit, or 255.
var digitOf = func() (t [256]byte) {
	for c := range t {
		t[c] = 255
	}
	for i, c := range crockfordDigits {
		t[c] = byte(i)
	}
	return t
}()

// CheckID reports whether s is an identifier with the given prefix ("run_"),
// and so safe to use as a file name.
func CheckID(s, prefix string) error {
	body, ok := strings.CutPrefix(s, prefix)
	if !ok || len(body) != 26 {
		return fmt.Errorf("%q is not an identifier of the form %s… (26 characters)", s, prefix)
	}
	for i := range len(body) {
		if digitOf[body[i]] == 255 {
			return fmt.Errorf("%q is not an identifier", s)
		}
	}
	if digitOf[body[25]]&3 != 0 { // 130 bits for 128: only one spelling is ours
		return fmt.Errorf("%q is not an identifier", s)
	}
	return nil
}

// IDBytes returns the sixteen bytes that an identifier's 26 characters stand
// for, whatever its prefix; all zero if it is none.
func IDBytes(s string) (out [16]byte) {
	body := s[strings.IndexByte(s, '_')+1:]
	if CheckID(body, "") != nil {
		return out
	}
	var acc uint64
	bits, n := 0, 0
	for i := range len(body) {
		acc = acc<<5 | uint64(digitOf[body[i]])
		if bits += 5; bits >= 8 {
			bits -= 8
			out[n] = byte(acc >> bits)
			if n++; n == len(out) {
				break
			}
		}
	}
	return out
}
