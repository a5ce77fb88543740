package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/carrel-dev/carrel/internal/gate"
)

// Go's HTTP client quotes what it cannot read of an answer in its errors. Where
// the request had a key in it, what is quoted may be that key.

// errUnreadable stands for such an error.
var errUnreadable = errors.New("its answer is not HTTP as it should be; what is wrong with it is not shown, because a credential may be in it")

// errDial marks what failed before anything was sent.
type errDial struct{ error }

// Unwrap gives way to what it is about.
func (e errDial) Unwrap() error { return e.error }

// unquoted is err, the failure of a request that had a key in it, without what
// the answer said.
func unquoted(err error) error {
	var (
		dial    errDial
		refusal *gate.Refusal
		breach  *Breach
		network net.Error
		number  syscall.Errno
		trust   *tls.CertificateVerificationError
		record  tls.RecordHeaderError
	)
	for _, known := range []any{&dial, &refusal, &breach, &network, &number, &trust, &record} {
		if errors.As(err, known) {
			return err
		}
	}
	for _, known := range []error{io.EOF, io.ErrUnexpectedEOF, context.Canceled, errWithdrawn, errFraming, errUnasked, net.ErrClosed} {
		if errors.Is(err, known) {
			return err
		}
	}
	return errUnreadable
}
