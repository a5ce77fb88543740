package risk

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/carrel-dev/carrel"
)

const (
	// hugeBytes is what nobody reads line by line.
	hugeBytes = 1 << 20
	// longLine is longer than people write lines.
	longLine = 5000
)

// byContent labels what a reviewer cannot read or cannot see.
func byContent(f File, out *collector) {
	if f.Kind != carrel.FileRegular || f.gone() || f.Change == carrel.ModeChanged {
		return
	}
	b := f.Now.Bytes
	switch {
	case binary(b):
		out.add("unreviewable", carrel.SeverityMedium, "it is binary")
	case f.Size > hugeBytes:
		out.add("unreviewable", carrel.SeverityMedium, fmt.Sprintf("it is %d KiB long", f.Size>>10))
	case longestLine(b) > longLine:
		out.add("unreviewable", carrel.SeverityLow, "it has lines of thousands of characters, as generated or minified code has")
	}
	if !binary(b) {
		unseen(f, out)
	}
	if bytes.HasPrefix(b, []byte("#!")) && path.Ext(string(f.Path)) == "" && f.Mode&exec == 0 && f.Change == carrel.Created {
		out.add("executable", carrel.SeverityLow, "it is a script, though not executable yet")
	}
}

// binary applies git's test: a zero byte near the start. Encodings with zero
// bytes count as binary, too: a reviewer does not see what they say.
func binary(b []byte) bool { return bytes.IndexByte(b[:min(len(b), 8000)], 0) >= 0 }

func longestLine(b []byte) int {
	longest := 0
	for line := range bytes.SplitSeq(b, []byte("\n")) {
		longest = max(longest, len(line))
	}
	return longest
}

// unseen reports invisible characters and terminal controls that the old
// content did not have as many of.
func unseen(f File, out *collector) {
	now, was := countUnseen(f.Now.Bytes), countUnseen(f.Was.Bytes)
	for _, what := range slices.Sorted(maps.Keys(now)) {
		n := now[what]
		if n.count <= was[what].count {
			continue
		}
		severity := carrel.SeverityHigh
		if what == "an unusual space" || what == "a control character" {
			severity = carrel.SeverityLow
		}
		out.add("invisible-characters", severity, fmt.Sprintf("it holds %s (%U), line %d", what, n.sample, n.line))
	}
}

type unseenCount struct {
	count  int
	sample rune
	line   int
}

func countUnseen(b []byte) map[string]unseenCount {
	if ascii(b) {
		return nil
	}
	out := map[string]unseenCount{}
	line, last := 1, rune(0)
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == '\n' {
			line++
		}
		if what := strange(r); what != "" && !usual(b, i, r, last) {
			c := out[what]
			if c.count == 0 {
				c.sample, c.line = r, line
			}
			c.count++
			out[what] = c
		}
		last = r
		i += n
	}
	return out
}

// ascii reports whether b holds only printable ASCII and usual white space:
// then nothing can hide.
func ascii(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf || c == 0x7f || c < 0x20 && c != '\n' && c != '\t' && c != '\r' && c != '\f' {
			return false
		}
	}
	return true
}

// usual excuses what honest text holds: white space, a byte order mark at the
// very start, and joiners and selectors inside emoji and Indic words.
func usual(b []byte, at int, r, last rune) bool {
	switch r {
	case '\n', '\t', '\r', '\f':
		return true
	case 0xfeff:
		return at == 0
	case 0x200c, 0x200d, 0xfe0f, 0xfe0e:
		return last > 0x2000 || last >= 0x0600 && last < 0x1000
	case 0xa0, 0x3000, 0x202f, 0xad:
		return strings.ContainsRune("\u00a0\u3000\u202f\u00ad", r) && last >= utf8.RuneSelf
	}
	return false
}
