package terminal

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Escape returns s as one line that is safe to show anywhere: control
// characters (newline and tab too), invalid UTF-8, and characters that are
// invisible or change the order of reading become a visible \xNN or \u{…}.
// Backslashes before such an escape, or before an x or u, are doubled, so two
// different strings never look the same.
func Escape(s string) string { return escape(s, "", true) }

// EscapeText is Escape for text of several lines: newline and tab stay, and so
// does every backslash, since code is full of them and people read it.
func EscapeText(s string) string { return escape(s, "\n\t", false) }

func escape(s, keep string, exact bool) string {
	var b strings.Builder
	slashes := 0 // backslashes just before s[i]
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		invalid := r == utf8.RuneError && n == 1
		bad := invalid || Hidden(r) && !strings.ContainsRune(keep, r)
		if exact && (bad || r == 'x' || r == 'u') {
			b.WriteString(strings.Repeat(`\`, slashes))
		}
		switch {
		case !bad:
			b.WriteString(s[i : i+n])
		case invalid || r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
		if slashes++; r != '\\' {
			slashes = 0
		}
		i += n
	}
	return b.String()
}

// EscapeJSON rewrites JSON so that no control, invisible or reordering
// character stands in it as itself: inside strings they become \u escapes
// (surrogate pairs beyond the basic plane), which every JSON reader turns back.
// Line ends and tabs between values stay. Bytes that are no UTF-8 become
// U+FFFD, as JSON readers would take them.
func EscapeJSON(raw []byte) []byte {
	out := make([]byte, 0, len(raw)+16)
	for i := 0; i < len(raw); {
		r, n := utf8.DecodeRune(raw[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			out = append(out, `\ufffd`...)
		case r == '\n' || r == '\t' || r == '\r' || !Hidden(r):
			out = append(out, raw[i:i+n]...)
		case r > 0xffff:
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += n
	}
	return out
}

// Hidden reports whether r must never be shown as itself: it moves the cursor,
// talks to the terminal, has no width, or changes the order of what is read.
func Hidden(r rune) bool {
	if r < 0x7f {
		return r < 0x20
	}
	return r < 0xa0 || unicode.Is(hidden, r)
}

// hidden lists the characters above Latin-1's controls that a reader cannot
// see or that reorder what is seen. Widening or narrowing what people are
// shown is a change of this table.
var hidden = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x00ad, Hi: 0x00ad, Stride: 1}, // soft hyphen
		{Lo: 0x034f, Hi: 0x034f, Stride: 1}, // combining grapheme joiner
		{Lo: 0x061c, Hi: 0x061c, Stride: 1}, // Arabic letter mark
		{Lo: 0x115f, Hi: 0x1160, Stride: 1}, // Hangul fillers
		{Lo: 0x17b4, Hi: 0x17b5, Stride: 1}, // Khmer inherent vowels, never rendered
		{Lo: 0x180b, Hi: 0x180f, Stride: 1}, // Mongolian selectors and vowel separator
		{Lo: 0x200b, Hi: 0x200f, Stride: 1}, // zero-width characters, direction marks
		{Lo: 0x2028, Hi: 0x202e, Stride: 1}, // line and paragraph separator, embeddings, overrides
		{Lo: 0x2060, Hi: 0x206f, Stride: 1}, // word joiner, invisible operators, isolates
		{Lo: 0x3164, Hi: 0x3164, Stride: 1}, // Hangul filler
		{Lo: 0xe000, Hi: 0xf8ff, Stride: 1}, // private use: whatever the font says
		{Lo: 0xfe00, Hi: 0xfe0d, Stride: 1}, // variation selectors, but for text and emoji style
		{Lo: 0xfeff, Hi: 0xfeff, Stride: 1}, // byte order mark
		{Lo: 0xffa0, Hi: 0xffa0, Stride: 1}, // half-width Hangul filler
		{Lo: 0xfff0, Hi: 0xfffb, Stride: 1}, // interlinear annotation
	},
	R32: []unicode.Range32{
		{Lo: 0x13430, Hi: 0x1345f, Stride: 1},   // hieroglyph format controls
		{Lo: 0x1bca0, Hi: 0x1bca3, Stride: 1},   // shorthand format controls
		{Lo: 0x1d173, Hi: 0x1d17a, Stride: 1},   // musical format controls
		{Lo: 0xe0000, Hi: 0xe0fff, Stride: 1},   // tags and variation selectors
		{Lo: 0xf0000, Hi: 0xffffd, Stride: 1},   // private use
		{Lo: 0x100000, Hi: 0x10fffd, Stride: 1}, // private use
	},
	LatinOffset: 1,
}
