package origin

import (
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

// before returns where a line of now was in an earlier version, if it was
// there: unchanged lines keep their order.
func before(was, now []byte, line int) (n int, there bool) {
	old, text := normal(was), normal(now)
	if old == text {
		return line, true
	}
	oldLine, newLine, at := 1, 1, 0
	for _, e := range udiff.Lines(old, text) {
		same := strings.Count(old[at:e.Start], "\n")
		if line < newLine+same {
			return oldLine + line - newLine, true
		}
		oldLine, newLine = oldLine+same, newLine+same
		added := strings.Count(e.New, "\n")
		if line < newLine+added {
			return 0, false
		}
		oldLine, newLine, at = oldLine+strings.Count(old[e.Start:e.End], "\n"), newLine+added, e.End
	}
	return oldLine + line - newLine, true
}

// normal ends every line with one newline.
func normal(content []byte) string {
	text := strings.ReplaceAll(string(content), "\r\n", "\n")
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text
}
