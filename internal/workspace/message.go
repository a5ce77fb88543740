package workspace

import (
	"io"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
)

// maxMessage bounds a proposed commit message.
const maxMessage = 8 << 10

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
	return carrel.Text(plainText(string(b)))
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
