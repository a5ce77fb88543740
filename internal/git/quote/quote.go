// Package quote writes and reads names as git does: in C's quotes where they
// hold what would confuse. It runs nothing, and is trusted to give every name
// back as it was.
package quote

import (
	"fmt"
	"strconv"
	"strings"
)

// Name returns a name as git prints it: in quotes only where it needs them.
func Name(name string) string {
	for i := range len(name) {
		if c := name[i]; escaped(c) || octal(c) {
			return Always(name)
		}
	}
	return name
}

// Always returns a name in quotes, which git takes literally wherever it reads
// a name.
func Always(name string) string {
	out := []byte{'"'}
	for i := range len(name) {
		switch c := name[i]; {
		case escaped(c):
			out = append(out, '\\', c)
		case octal(c):
			out = fmt.Appendf(out, "\\%03o", c)
		default:
			out = append(out, c)
		}
	}
	return string(append(out, '"'))
}

func escaped(c byte) bool { return c == '"' || c == '\\' }

func octal(c byte) bool { return c < ' ' || c >= 0x7f }

// Read returns the name that git printed: in quotes and with escapes if it
// holds what is not plain. It reports false for what names nothing.
func Read(s string) (string, bool) {
	inner, quoted := strings.CutPrefix(s, `"`)
	if !quoted {
		return s, s != ""
	}
	inner, ok := strings.CutSuffix(inner, `"`)
	var out strings.Builder
	for i := 0; ok && i < len(inner); i++ {
		if inner[i] != '\\' {
			out.WriteByte(inner[i])
			continue
		}
		if i++; i == len(inner) {
			return "", false
		}
		if at := strings.IndexByte("abtnvfr\"\\", inner[i]); at >= 0 {
			out.WriteByte("\a\b\t\n\v\f\r\"\\"[at])
			continue
		}
		if i+3 > len(inner) {
			return "", false
		}
		n, err := strconv.ParseUint(inner[i:i+3], 8, 8)
		if err != nil {
			return "", false
		}
		out.WriteByte(byte(n))
		i += 2
	}
	return out.String(), ok && out.Len() > 0
}
