package terminal

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEscapeShowsWhatIsHidden(t *testing.T) {
	for _, c := range []struct{ in, line, text string }{
		{"plain.txt", "plain.txt", "plain.txt"},
		{"naïve 漢字 😀", "naïve 漢字 😀", "naïve 漢字 😀"},
		{"a\nb\tc\rd", `a\x0ab\x09c\x0dd`, "a\nb\tc\\x0dd"},
		{"\x1b]52;c;aGk=\a", `\x1b]52;c;aGk=\x07`, `\x1b]52;c;aGk=\x07`},
		{"\u009b31m", `\u{9b}31m`, `\u{9b}31m`},
		{"\x7f", `\x7f`, `\x7f`},
		{"bad\xff\xc3", `bad\xff\xc3`, `bad\xff\xc3`},
		{"a\u202egpj.exe", `a\u{202e}gpj.exe`, `a\u{202e}gpj.exe`},
		{"x\u200b\u2066\u2069\ufeff", `x\u{200b}\u{2066}\u{2069}\u{feff}`, `x\u{200b}\u{2066}\u{2069}\u{feff}`},
		{"\u2028\u2029", `\u{2028}\u{2029}`, `\u{2028}\u{2029}`},
		{"hi\U000e0041\U000e007f", `hi\u{e0041}\u{e007f}`, `hi\u{e0041}\u{e007f}`},
		{`C:\dir`, `C:\dir`, `C:\dir`},
		{`\x1b`, `\\x1b`, `\x1b`},
		{"�", "�", "�"},
		{"\ufe01❤\ufe0f", "\\u{fe01}❤\ufe0f", "\\u{fe01}❤\ufe0f"},
	} {
		if got := Escape(c.in); got != c.line {
			t.Errorf("Escape(%q) = %s, want %s", c.in, got, c.line)
		}
		if got := EscapeText(c.in); got != c.text {
			t.Errorf("EscapeText(%q) = %s, want %s", c.in, got, c.text)
		}
	}
}

// unescape reads Escape's output back: the proof that nothing is ambiguous.
func unescape(t *testing.T, s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		run := 0
		for i+run < len(s) && s[i+run] == '\\' {
			run++
		}
		rest := s[i+run:]
		if run == 0 || rest == "" || rest[0] != 'x' && rest[0] != 'u' {
			n := max(run, 1)
			b.WriteString(s[i : i+n])
			i += n
			continue
		}
		b.WriteString(strings.Repeat(`\`, run/2))
		i += run
		if run%2 == 0 {
			continue
		}
		end := 3
		if rest[0] == 'x' {
			b.WriteByte(hexRune(t, rest[1:3])[0])
		} else {
			end = strings.IndexByte(rest, '}') + 1
			r := rune(0)
			for _, c := range rest[2 : end-1] {
				r = r<<4 | rune(strings.IndexRune("0123456789abcdef", c))
			}
			b.WriteRune(r)
		}
		i += end
	}
	return b.String()
}

func hexRune(t *testing.T, s string) string {
	hi, lo := strings.IndexByte("0123456789abcdef", s[0]), strings.IndexByte("0123456789abcdef", s[1])
	if hi < 0 || lo < 0 {
		t.Fatalf("%q is no hex byte", s)
	}
	return string([]byte{byte(hi<<4 | lo)})
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "a\\\x01", `\x01`, `\\x01`, "\\\\\x01", "\u202e", "\xff", "\\\u202e", `\u{202e}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		line := Escape(s)
		for _, r := range line {
			if Hidden(r) {
				t.Fatalf("Escape(%q) shows %U", s, r)
			}
		}
		if !utf8.ValidString(line) {
			t.Fatalf("Escape(%q) is not UTF-8", s)
		}
		if back := unescape(t, line); back != s {
			t.Fatalf("Escape(%q) = %s reads back as %q", s, line, back)
		}
		for _, r := range EscapeText(s) {
			if Hidden(r) && r != '\n' && r != '\t' {
				t.Fatalf("EscapeText(%q) shows %U", s, r)
			}
		}
	})
}

func FuzzEscapeJSON(f *testing.F) {
	f.Add("a\u202e\x1b\U000e0041\u009b\xff\n")
	f.Fuzz(func(t *testing.T, s string) {
		raw, err := json.Marshal(map[string]string{"path": s})
		if err != nil {
			t.Fatal(err)
		}
		out := EscapeJSON(raw)
		for _, r := range string(out) {
			if Hidden(r) {
				t.Fatalf("%q shows %U", out, r)
			}
		}
		var before, after map[string]string
		if json.Unmarshal(raw, &before) != nil || json.Unmarshal(out, &after) != nil || before["path"] != after["path"] {
			t.Fatalf("EscapeJSON changed %q to %q", raw, out)
		}
	})
}
