package carrel

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

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
