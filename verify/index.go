package verify

import (
	"encoding/base32"
	"strings"

	"github.com/carrel-dev/carrel"
)

var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// RunKey returns the sixteen bytes by which the index knows a run; all zero
// for none.
func RunKey(run carrel.RunID) (key [16]byte) {
	if b, err := crockford.DecodeString(strings.TrimPrefix(string(run), "run_")); err == nil && len(b) == len(key) {
		copy(key[:], b)
	}
	return key
}
