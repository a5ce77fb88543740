package workspace

import (
	"io"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
)

// A proposed commit message is no longer than what review shows of it: what
// nobody was shown must not go into a commit.
const (
	maxMessage      = 8 << 10
	maxMessageLines = 100
	maxMessageLine  = 900 // bytes
)

// message reads what the agent proposes as a commit message. The text is the
// agent's: it is cut, and nothing in it can act on a terminal.
func (s *Seat) message() carrel.Text {
	dir, err := openRoot(s.Outbox())
	if err != nil {
		return ""
	}
	defer unix.Close(dir)
	var st unix.Stat_t
	if err := statAt(dir, carrel.MessageFile, &st); err != nil {
		return ""
	}
	f, restore, err := openFile(dir, carrel.MessageFile, &st, true)
	if err != nil {
		return ""
	}
	defer restore()
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMessage))
	if err != nil {
		return ""
	}
	return carrel.Text(cutLines(plainText(string(b))))
}

// cutLines shortens a text to as many lines, and each of them, as are shown.
func cutLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if len(l) > maxMessageLine {
			lines[i] = strings.ToValidUTF8(l[:maxMessageLine], "") + " …"
		}
	}
	return strings.TrimSpace(strings.Join(lines[:min(len(lines), maxMessageLines)], "\n"))
}

// plainText keeps what can be read: line breaks, tabs and graphic characters.
func plainText(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == ' ':
			return r
		case r == unicode.ReplacementChar, !unicode.IsGraphic(r):
			return -1
		}
		return r
	}, strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\r\n", "\n"))
	return strings.TrimSpace(s)
}
