package carrel

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
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

const hexDigits = "0123456789abcdef"

// plain says which bytes stand for themselves in a string.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != '"' && c != '\\'
	}
	return t
}()
