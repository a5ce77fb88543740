// Package credential knows where keys come from that stay outside a desk: the
// supervisor's environment, a private file, or a program of the host.
//
// It owns the reading of a key and its redaction. It is trusted with the key
// itself: it gives it only to whom a grant covers, and never writes, prints or
// encodes it.
package credential

import (
	"errors"
	"fmt"
)

const redacted = "[redacted]"

// Value is a secret. However it is printed, logged or encoded, it shows that
// it is one and nothing of it. The secret is behind a pointer because fmt
// looks into fields that have no method it may call. The zero value is no
// secret at all.
type Value struct{ secret *string }

// Reveal returns the secret itself, for the one place that sends it.
func (v Value) Reveal() string {
	if v.secret == nil {
		return ""
	}
	return *v.secret
}

// IsZero reports whether there is no secret.
func (v Value) IsZero() bool { return v.secret == nil }

// String implements fmt.Stringer.
func (v Value) String() string { return redacted }

// Format implements fmt.Formatter: no verb and no flag shows the secret.
func (v Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText implements encoding.TextMarshaler, and so JSON and YAML.
func (v Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// maxSecret bounds a secret: tokens have a few hundred bytes, at most a few
// thousand.
const maxSecret = 16 << 10

// newValue refuses what could not be sent in one header line, without saying
// what it was.
func newValue(s string) (Value, error) {
	switch {
	case s == "":
		return Value{}, errors.New("it is empty")
	case len(s) > maxSecret:
		return Value{}, fmt.Errorf("it is longer than %d bytes", maxSecret)
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return Value{}, fmt.Errorf("it has a character at offset %d that no key has (white space, control or non-ASCII)", i)
		}
	}
	return Value{&s}, nil
}
