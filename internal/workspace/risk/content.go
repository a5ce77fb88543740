package risk

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/carrel-dev/carrel"
)

const (
	// Looked is how much of a content is looked at: as much as review compares.
	// What is larger nobody reads line by line, and its label says so.
	Looked = 1 << 20
	// longLine is longer than people write lines.
	longLine = 5000
	// shownLine and shownLines are how much review shows of a line in bytes,
	// and of a file's difference in lines, of which context are the same before
	// and after it.
	shownLine  = 1000
	shownLines = 3000
	context    = 3
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
	case f.Size > Looked:
		out.add("unreviewable", carrel.SeverityMedium, fmt.Sprintf("it is %d KiB long", f.Size>>10))
	case longestLine(b) > longLine:
		out.add("unreviewable", carrel.SeverityLow, "it has lines of thousands of characters, as generated or minified code has")
	case longLineAdded(b, f.Was.Bytes):
		out.add("unreviewable", carrel.SeverityLow, fmt.Sprintf("it has new lines of more than the %d bytes that review shows", shownLine))
	case differing(b, f.Was.Bytes)+2*context > shownLines:
		out.add("unreviewable", carrel.SeverityLow, fmt.Sprintf("its difference can be longer than the %d lines that review shows", shownLines))
	}
	if !binary(b) {
		unseen(f, out)
	}
	if bytes.HasPrefix(b, []byte("#!")) && path.Ext(string(f.Path)) == "" && f.Mode&exec == 0 && f.Change == carrel.Created {
		out.add("executable", carrel.SeverityLow, "it is a script, though not executable yet")
	}
}

// binary applies review's test, a zero byte anywhere: a script runs as well
// with one far from the start, where git does not look. Encodings with zero
// bytes count as binary, too: a reviewer does not see what they say.
func binary(b []byte) bool { return bytes.IndexByte(b, 0) >= 0 }

// longLineAdded reports a line that review cuts and that was not there before.
func longLineAdded(now, was []byte) bool {
	if longestLine(now) <= shownLine {
		return false
	}
	before := map[string]bool{}
	for line := range bytes.SplitSeq(was, []byte("\n")) {
		if len(line) > shownLine {
			before[string(line)] = true
		}
	}
	for line := range bytes.SplitSeq(now, []byte("\n")) {
		if len(line) > shownLine && !before[string(line)] {
			return true
		}
	}
	return false
}

// differing is the most lines that the difference of two contents can have:
// those between what they begin and what they end with alike.
func differing(now, was []byte) int {
	start := 0
	for start < min(len(now), len(was)) && now[start] == was[start] {
		start++
	}
	now, was = now[start:], was[start:]
	end := 0
	for end < min(len(now), len(was)) && now[len(now)-1-end] == was[len(was)-1-end] {
		end++
	}
	return lines(now[:len(now)-end]) + lines(was[:len(was)-end])
}

// lines counts the lines that a part of a content touches.
func lines(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	return bytes.Count(b, []byte("\n")) + 1
}

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
		if what == "an unusual space" || what == "a control character" || what == "a private-use character" {
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

// joined reports a character that honest text has a joiner or a selector after.
// Several in a row are none: drawn as nothing, they can spell out a message.
func joined(last rune) bool {
	switch last {
	case 0x200c, 0x200d, 0xfe0e, 0xfe0f:
		return false
	}
	return last > 0x2000 && !unicode.IsLetter(last) || last >= 0x0600 && last < 0x1000
}

// usual excuses what honest text holds: white space, a byte order mark at the
// very start, and joiners and selectors inside emoji and Indic words.
func usual(b []byte, at int, r, last rune) bool {
	switch r {
	case '\n', '\t', '\r', '\f':
		return true
	case 0xfeff:
		return at == 0
	case 0x200d:
		return last == 0xfe0f || joined(last)
	case 0x200c, 0xfe0e:
		return joined(last)
	case 0xfe0f:
		return joined(last) || strings.ContainsRune("0123456789#*\u00a9\u00ae", last)
	case 0xa0, 0x3000, 0x202f, 0xad:
		return strings.ContainsRune("\u00a0\u3000\u202f\u00ad", r) && last >= utf8.RuneSelf
	}
	return false
}
