package carrel

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
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

var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

func newID(prefix string) string {
	var b [16]byte
	ms := uint64(time.Now().UnixMilli())
	binary.BigEndian.PutUint64(b[:8], ms<<16)
	// crypto/rand.Read never returns an error (Go 1.24 and later).
	_, _ = rand.Read(b[6:])
	return prefix + crockford.EncodeToString(b[:])
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

// CheckID reports whether s is an identifier with the given prefix ("run_"),
// and so safe to use as a file name.
func CheckID(s, prefix string) error {
	body, ok := strings.CutPrefix(s, prefix)
	if !ok || len(body) != 26 {
		return fmt.Errorf("%q is not an identifier of the form %s… (26 characters)", s, prefix)
	}
	// Decoding skips line ends and the last two bits; only one spelling is ours.
	if b, err := crockford.DecodeString(body); err != nil || crockford.EncodeToString(b) != body {
		return fmt.Errorf("%q is not an identifier", s)
	}
	return nil
}
