package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strings"
)

// spelling is one way a text is written, with what is put in its place. Both
// have the same length, so that lengths announced beforehand stay true. head
// is how much of it tells that it was meant, should an answer have cut it
// short; nil where only the whole counts.
type spelling struct{ find, put, head []byte }

// spellings lists how servers and clients write a text: as it is, in URLs, in
// JSON and HTML, as hexadecimal, and in base64 at every offset, each with the
// same spelling of instead.
func spellings(text, instead string) []spelling {
	var out []spelling
	seen := map[string]bool{}
	with := spell(instead)
	for i, s := range spell(text) {
		if len(s) < minSpelling || seen[s] {
			continue
		}
		seen[s] = true
		put := []byte(with[i])
		if len(put) != len(s) {
			put = bytes.Repeat([]byte("*"), len(s))
		}
		out = append(out, spelling{[]byte(s), put, headOf(s, with[i])})
	}
	return out
}

// telling is how many characters beyond what every key of this shape begins
// with must be there for the beginning of a key to be one.
const telling = 10

// headOf returns the beginning that tells find from instead, which has its
// shape, and from everything else.
func headOf(find, instead string) []byte {
	n := common([]byte(find), []byte(instead)) + telling
	if n >= len(find) || strings.Trim(instead, "*") == "" {
		return nil
	}
	return []byte(find[:n])
}

// common is how many bytes a and b begin with alike.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// minSpelling is how long a spelling must be to mean this text and no other.
const minSpelling = 8

// spell writes s in every way of spellings, always in the same order.
func spell(s string) []string {
	query, path := url.QueryEscape(s), url.PathEscape(s)
	quoted, _ := json.Marshal(s) // a string always encodes
	inner := string(quoted[1 : len(quoted)-1])
	out := []string{
		s, query, lowerEscapes(query), path, lowerEscapes(path), everyByte(s, "%%%02X"), everyByte(s, "%%%02x"),
		inner, strings.ReplaceAll(inner, "/", `\/`), everyByte(s, `\u%04x`), html.EscapeString(s),
		hex.EncodeToString([]byte(s)), strings.ToUpper(hex.EncodeToString([]byte(s))),
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for offset := range 3 {
			out = append(out, inBase64(encoding, s, offset))
		}
	}
	return out
}

func everyByte(s, format string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}

// lowerEscapes writes %2F as %2f.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], bytes.ToLower(b[i+1:i+3]))
			i += 2
		}
	}
	return string(b)
}

// inBase64 returns the part of an encoding that only s decides, where offset
// bytes modulo 3 come before it.
func inBase64(encoding *base64.Encoding, s string, offset int) string {
	encoded := encoding.EncodeToString(append(make([]byte, offset), s...))
	return encoded[(8*offset+5)/6 : 8*(offset+len(s))/6]
}
