package demo

import (
	"fmt"
	"io"
	"strings"
)

// speaker prints the demo's own words.
type speaker struct {
	out   io.Writer
	color bool
}

// colors are the colours of the words that start a line.
var colors = map[string]string{
	"done": "32", "held": "32", "refused": "33", "staged": "35", "GOT IN": "1;31", "OPEN": "1;31",
}

func (s speaker) paint(code, text string) string {
	if !s.color || code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s speaker) section(title string) {
	_, _ = fmt.Fprintf(s.out, "\n%s\n", s.paint("1", title))
}

// command shows what a person would type.
func (s speaker) command(words ...string) {
	for i, w := range words {
		if strings.ContainsAny(w, " |'\"") {
			words[i] = "'" + w + "'"
		}
	}
	_, _ = fmt.Fprintf(s.out, "%s\n", s.paint("2", "$ "+strings.Join(words, " ")))
}

func (s speaker) line(word, text string) {
	_, _ = fmt.Fprintf(s.out, "  %s %s\n", s.paint(colors[word], fmt.Sprintf("%-8s", word)), text)
}

func (s speaker) text(text string) {
	for line := range strings.Lines(text) {
		_, _ = fmt.Fprintf(s.out, "  %s\n", strings.TrimRight(line, "\n"))
	}
}
