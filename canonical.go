package carrel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Canonical encodes v as canonical JSON: RFC 8785 restricted to integers of
// at most 53 bits, so object members are sorted by UTF-16 code units, there is
// no white space, and only what JSON must escape is escaped. Floats with a
// fraction, larger integers and invalid UTF-8 are errors: a value that two
// readers could understand differently has no digest.
func Canonical(v any) ([]byte, error) {
	var raw bytes.Buffer
	enc := json.NewEncoder(&raw)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("canonical encoding: %w", err)
	}
	return Canonicalize(raw.Bytes())
}

// Canonicalize rewrites one JSON value in canonical form. Duplicate members
// and anything after the value are errors.
func Canonicalize(raw []byte) ([]byte, error) {
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("canonical encoding: invalid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	out, err := appendValue(nil, dec, 0)
	if err != nil {
		return nil, fmt.Errorf("canonical encoding: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("canonical encoding: data after the value")
	}
	return out, nil
}

// maxDepth bounds nesting: nothing Carrel writes comes near it, and a reader
// in another language must not need a deep stack.
const maxDepth = 64

func appendValue(out []byte, dec *json.Decoder, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := tok.(type) {
	case json.Delim:
		if t == '{' {
			return appendObject(out, dec, depth)
		}
		return appendArray(out, dec, depth)
	case string:
		return appendString(out, t), nil
	case json.Number:
		return appendInteger(out, t)
	case bool:
		return strconv.AppendBool(out, t), nil
	default:
		return append(out, "null"...), nil
	}
}

func appendObject(out []byte, dec *json.Decoder, depth int) ([]byte, error) {
	type member struct {
		key   string
		value []byte
	}
	var members []member
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		value, err := appendValue(nil, dec, depth+1)
		if err != nil {
			return nil, err
		}
		members = append(members, member{tok.(string), value})
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	slices.SortFunc(members, func(a, b member) int { return compareUTF16(a.key, b.key) })
	out = append(out, '{')
	for i, m := range members {
		if i > 0 {
			if m.key == members[i-1].key {
				return nil, fmt.Errorf("duplicate member %q", m.key)
			}
			out = append(out, ',')
		}
		out = append(appendString(out, m.key), ':')
		out = append(out, m.value...)
	}
	return append(out, '}'), nil
}

func appendArray(out []byte, dec *json.Decoder, depth int) ([]byte, error) {
	out = append(out, '[')
	for first := true; dec.More(); first = false {
		if !first {
			out = append(out, ',')
		}
		var err error
		if out, err = appendValue(out, dec, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return append(out, ']'), err
}

func appendInteger(out []byte, n json.Number) ([]byte, error) {
	s := n.String()
	i, err := strconv.ParseInt(s, 10, 64)
	if err != nil || i > 1<<53-1 || i < -(1<<53-1) || strconv.FormatInt(i, 10) != s {
		return nil, fmt.Errorf("number %s is not an integer of at most 53 bits", s[:min(len(s), 40)])
	}
	return append(out, s...), nil
}

const hexDigits = "0123456789abcdef"

func appendString(out []byte, s string) []byte {
	out = append(out, '"')
	for _, c := range []byte(s) {
		switch short := strings.IndexByte("\b\t\n\f\r\"\\", c); {
		case short >= 0:
			out = append(out, '\\', `btnfr"\`[short])
		case c < 0x20:
			out = append(out, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}

// compareUTF16 orders as RFC 8785 asks. It differs from byte order only where
// one string has a character beyond the basic plane and the other one of
// U+E000–U+FFFF.
func compareUTF16(a, b string) int {
	for a != "" && b != "" {
		ra, na := utf8.DecodeRuneInString(a)
		rb, nb := utf8.DecodeRuneInString(b)
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
