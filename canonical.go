package carrel

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Canonicalize rewrites one JSON value in canonical form. Duplicate members,
// lone surrogates and anything after the value are errors.
func Canonicalize(raw []byte) ([]byte, error) {
	out, err := canonicalize(make([]byte, 0, len(raw)), raw, 0, false)
	if err != nil {
		return nil, fmt.Errorf("canonical encoding: %w", err)
	}
	return out, nil
}

// canonicalize appends the canonical form of a value that lies at the given
// depth.
func canonicalize(out, raw []byte, depth int, encoded bool) ([]byte, error) {
	if !utf8.Valid(raw) {
		return nil, errUTF8
	}
	c := canonicalizer{in: raw, encoded: encoded}
	out, err := c.value(out, depth)
	if c.peek(); err == nil && c.pos < len(c.in) {
		err = errors.New("data after the value")
	}
	if err != nil {
		return nil, fmt.Errorf("%w (at byte %d)", err, c.pos)
	}
	return out, nil
}

// maxDepth bounds nesting: nothing Carrel writes comes near it, and a reader
// in another language must not need a deep stack.
const maxDepth = 64

var errSyntax = errors.New("not JSON")

// canonicalizer reads valid UTF-8 from front to back.
type canonicalizer struct {
	in      []byte
	pos     int
	encoded bool // in comes from encoding/json: an escaped U+FFFD was invalid UTF-8
}

// peek skips white space and returns the next byte, or 0 at the end.
func (c *canonicalizer) peek() byte {
	for ; c.pos < len(c.in); c.pos++ {
		switch b := c.in[c.pos]; b {
		case ' ', '\t', '\n', '\r':
		default:
			return b
		}
	}
	return 0
}

// take skips white space and the byte b, if that is next.
func (c *canonicalizer) take(b byte) bool {
	if c.peek() != b {
		return false
	}
	c.pos++
	return true
}

// value appends the next value to out.
func (c *canonicalizer) value(out []byte, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	switch b := c.peek(); {
	case b == '{':
		return c.object(out, depth)
	case b == '[':
		return c.array(out, depth)
	case b == '"':
		s, err := c.text()
		return appendString(out, s), err
	case b == '-' || b >= '0' && b <= '9':
		return c.integer(out)
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(c.in[c.pos:], []byte(word)) {
			c.pos += len(word)
			return append(out, word...), nil
		}
	}
	return nil, errSyntax
}

type member struct{ key, value []byte }

func (c *canonicalizer) object(out []byte, depth int) ([]byte, error) {
	c.pos++
	var members []member
	for first := true; !c.take('}'); first = false {
		if !first && !c.take(',') || c.peek() != '"' {
			return nil, errSyntax
		}
		key, err := c.text()
		if err != nil {
			return nil, err
		}
		if !c.take(':') {
			return nil, errSyntax
		}
		value, err := c.value(nil, depth+1)
		if err != nil {
			return nil, err
		}
		members = append(members, member{key, value})
	}
	slices.SortFunc(members, func(a, b member) int { return compareUTF16(a.key, b.key) })
	out = append(out, '{')
	for i, m := range members {
		if i > 0 {
			if bytes.Equal(m.key, members[i-1].key) {
				return nil, fmt.Errorf("duplicate member %q", m.key)
			}
			out = append(out, ',')
		}
		out = append(appendString(out, m.key), ':')
		out = append(out, m.value...)
	}
	return append(out, '}'), nil
}

func (c *canonicalizer) array(out []byte, depth int) ([]byte, error) {
	c.pos++
	out = append(out, '[')
	for first := true; !c.take(']'); first = false {
		if !first {
			if !c.take(',') {
				return nil, errSyntax
			}
			out = append(out, ',')
		}
		var err error
		if out, err = c.value(out, depth+1); err != nil {
			return nil, err
		}
	}
	return append(out, ']'), nil
}

func (c *canonicalizer) integer(out []byte) ([]byte, error) {
	start := c.pos
	for c.pos < len(c.in) && strings.IndexByte("+-.0123456789eE", c.in[c.pos]) >= 0 {
		c.pos++
	}
	s := string(c.in[start:c.pos])
	i, err := strconv.ParseInt(s, 10, 64)
	if err != nil || i > maxInteger || i < -maxInteger || strconv.FormatInt(i, 10) != s {
		return nil, fmt.Errorf("number %s is not an integer of at most 53 bits", s[:min(len(s), 40)])
	}
	return append(out, s...), nil
}

// text reads a string and returns what it stands for, which may share c.in.
func (c *canonicalizer) text() ([]byte, error) {
	c.pos++
	start := c.pos
	var decoded []byte // nil: nothing was escaped so far
	for c.pos < len(c.in) {
		switch b := c.in[c.pos]; {
		case b == '"':
			c.pos++
			if decoded == nil {
				return c.in[start : c.pos-1], nil
			}
			return decoded, nil
		case b < 0x20:
			return nil, errors.New("control character in a string")
		case b != '\\':
			if decoded != nil {
				decoded = append(decoded, b)
			}
			c.pos++
		default:
			if decoded == nil {
				decoded = append(make([]byte, 0, 64), c.in[start:c.pos]...)
			}
			r, err := c.escape()
			if err != nil {
				return nil, err
			}
			decoded = utf8.AppendRune(decoded, r)
		}
	}
	return nil, errSyntax
}

// escape reads one escape, or the two of a pair of surrogates.
func (c *canonicalizer) escape() (rune, error) {
	if c.pos+1 >= len(c.in) {
		return 0, errSyntax
	}
	b := c.in[c.pos+1]
	if i := strings.IndexByte(`btnfr"\/`, b); i >= 0 {
		c.pos += 2
		return rune("\b\t\n\f\r\"\\/"[i]), nil
	}
	r, err := c.unit()
	if err != nil {
		return 0, err
	}
	if utf16.IsSurrogate(r) {
		low, err := c.unit()
		if err != nil {
			return 0, errors.New("lone surrogate")
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return 0, errors.New("lone surrogate")
		}
	}
	if r == utf8.RuneError && c.encoded {
		return 0, errors.New("invalid UTF-8")
	}
	return r, nil
}

// unit reads a \uXXXX escape.
func (c *canonicalizer) unit() (rune, error) {
	if c.pos+6 > len(c.in) || c.in[c.pos] != '\\' || c.in[c.pos+1] != 'u' {
		return 0, errSyntax
	}
	n, err := strconv.ParseUint(string(c.in[c.pos+2:c.pos+6]), 16, 16)
	if err != nil {
		return 0, errSyntax
	}
	c.pos += 6
	return rune(n), nil
}

const hexDigits = "0123456789abcdef"

// plain says which bytes stand for themselves in a string.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != '"' && c != '\\'
	}
	return t
}()

func appendString[T []byte | string](out []byte, s T) []byte {
	out = append(out, '"')
	done := 0
	for i := range len(s) {
		c := s[i]
		if plain[c] {
			continue
		}
		out = append(out, s[done:i]...)
		done = i + 1
		if short := strings.IndexByte("\b\t\n\f\r\"\\", c); short >= 0 {
			out = append(out, '\\', `btnfr"\`[short])
		} else {
			out = append(out, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(out, s[done:]...), '"')
}

// compareUTF16 orders as RFC 8785 asks. It differs from byte order only where
// one string has a character beyond the basic plane and the other one of
// U+E000–U+FFFF.
func compareUTF16[T []byte | string](a, b T) int {
	for len(a) > 0 && len(b) > 0 {
		ra, na := utf8.DecodeRuneInString(string(a[:min(len(a), utf8.UTFMax)]))
		rb, nb := utf8.DecodeRuneInString(string(b[:min(len(b), utf8.UTFMax)]))
		if ra != rb {
			return int(utf16Key(ra)) - int(utf16Key(rb))
		}
		a, b = a[na:], b[nb:]
	}
	return len(a) - len(b)
}

// utf16Key places characters beyond the basic plane where their surrogates
// sort: between U+D7FF and U+E000.
func utf16Key(r rune) rune {
	if r > math.MaxUint16 {
		return 0xD800<<12 + r - 0x10000
	}
	return r << 12
}
