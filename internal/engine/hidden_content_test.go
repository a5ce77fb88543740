package engine

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/review"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/workspace/risk"
)

// texts is a content store.
type texts map[carrel.Digest][]byte

func (t texts) Read(d carrel.Digest, limit int64) ([]byte, error) {
	b, ok := t[d]
	if !ok || int64(len(b)) > limit {
		return nil, errors.New("content is not in the store")
	}
	return b, nil
}

func (t texts) file(content string) carrel.FileState {
	d := carrel.DigestBytes([]byte(content))
	t[d] = []byte(content)
	return carrel.FileState{Kind: carrel.FileRegular, Mode: 0o644, Size: int64(len(content)), Digest: d}
}

// What review does not show whole, a policy and a person are told of by a
// label; and what it shows needs none. (attacks.md 151: the risky part is
// off the screen.)
func TestAttackContentOutOfSight(t *testing.T) {
	code := strings.Repeat("x := 1 // nothing to see\n", 400)
	rows := strings.Repeat("1,2\n", 1400)
	for name, c := range map[string]struct{ was, now string }{
		"a zero byte far from the start":    {"", code + "// \x00\nevil()\n"},
		"a line that goes on":               {"", "nice" + strings.Repeat(" ", 1100) + "; evil()\n"},
		"a line that goes on, later":        {code, code + "nice" + strings.Repeat(" ", 1100) + "; evil()\n"},
		"many lines":                        {"", strings.Repeat("1\n", 3001) + "evil()\n"},
		"many lines, some of them replaced": {strings.Repeat("1\n", 2000), strings.Repeat("2\n", 2000) + "evil()\n"},
		"lines put in another order":        {strings.Repeat("1\n", 2000) + strings.Repeat("2\n", 2000), strings.Repeat("2\n", 2000) + strings.Repeat("1\n", 2000) + "evil()\n"},
		"as many lines as are shown":        {"", strings.Repeat("1\n", 2990)},
		"long lines that stay":              {strings.Repeat("y", 1500) + "\na\n", strings.Repeat("y", 1500) + "\na\nb\n"},
		"an edit in a long file":            {rows + "a\n" + rows, rows + "b\n" + rows},
		"text in the place of a binary":     {"\x7fELF\x00\n", "#!/bin/sh\nevil\n"},
	} {
		store := texts{}
		f := carrel.FileChange{Path: "f.txt", Change: carrel.Created, Before: carrel.FileState{Kind: carrel.FileNone}, FileState: store.file(c.now)}
		if c.was != "" {
			f.Change, f.Before = carrel.Modified, store.file(c.was)
		}
		f.Labels = risk.Assess(risk.File{FileChange: f, Now: risk.Head{Bytes: []byte(c.now), Whole: true}, Was: risk.Head{Bytes: []byte(c.was), Whole: true}})
		labelled := slices.ContainsFunc(f.Labels, func(l carrel.Label) bool { return l.Name == "unreviewable" })
		hidden := strings.Contains(c.now, "evil") && !shows(t, store, f, "evil")
		if hidden != labelled {
			t.Errorf("%s: hidden %v, labelled %v", name, hidden, labelled)
		}
	}
}

func shows(t *testing.T, store texts, f carrel.FileChange, what string) bool {
	t.Helper()
	f.Decision.Verdict = carrel.Allow
	var page strings.Builder
	if err := review.Render(&page, &carrel.Change{Files: []carrel.FileChange{f}}, store, review.Options{}); err != nil {
		t.Fatal(err)
	}
	return strings.Contains(page.String(), what)
}

// What review escapes because nobody sees it, a label names as well; and
// selectors that are drawn as nothing cannot spell out a message.
func TestAttackInvisibleCharactersAreNamed(t *testing.T) {
	labelled := func(content string) bool {
		f := carrel.FileChange{Path: "f.txt", Change: carrel.Created, FileState: texts{}.file(content)}
		labels := risk.Assess(risk.File{FileChange: f, Now: risk.Head{Bytes: []byte(content), Whole: true}})
		return slices.ContainsFunc(labels, func(l carrel.Label) bool { return l.Name == "invisible-characters" })
	}
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		if terminal.Hidden(r) && utf8.ValidRune(r) && !labelled("nothing"+string(r)+"here\n") {
			t.Errorf("%U is escaped in review and has no label", r)
		}
	}
	for name, content := range map[string]string{
		"styles as bits":  "\u2764" + strings.Repeat("\ufe0f\ufe0e\ufe0e\ufe0f", 20),
		"joiners as bits": "\u0905" + strings.Repeat("\u200c\u200d", 20),
		"between letters": "n\ufe0fothin\ufe0fg h\ufe0fere",
		"between signs":   "\u5b57\ufe0f\u5b57\u5b57\ufe0f",
		"both":            "\u2764" + strings.Repeat("\ufe0f\u200d", 20),
	} {
		if !labelled(content + "\n") {
			t.Errorf("%s: no label", name)
		}
	}
	for name, content := range map[string]string{
		"emoji": "\U0001F468\u200d\U0001F469\u200d\U0001F467 \u2764\ufe0f\u200d\U0001F525 \U0001F3F3\ufe0f\u200d\U0001F308 1\ufe0f\u20e3",
		"Hindi": "\u0915\u094d\u200d\u0937 \u0915\u094d\u200c\u0937",
	} {
		if labelled(content + "\n") {
			t.Errorf("%s: labelled", name)
		}
	}
}
