package demo

import (
	"bytes"
	"strings"
)

// attempt is one try of the agent to get out, as it reported it itself.
type attempt struct {
	what string
	held bool
}

// watcher passes the agent's output on, line by line, and remembers it. It
// is used by one goroutine at a time.
type watcher struct {
	say   speaker
	all   bytes.Buffer
	rest  []byte
	tries []attempt
}

// Write implements io.Writer.
func (w *watcher) Write(p []byte) (int, error) {
	w.all.Write(p)
	w.rest = append(w.rest, p...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		w.line(string(line))
		w.rest = rest
	}
}

func (w *watcher) flush() {
	if len(w.rest) > 0 {
		w.line(string(w.rest))
		w.rest = nil
	}
}

// words are what the scripted agent starts a line with.
var words = []string{"done", "refused", "staged", "GOT IN"}

func (w *watcher) line(line string) {
	for _, word := range words {
		what, ok := strings.CutPrefix(line, word)
		if !ok {
			continue
		}
		what = strings.TrimSpace(what)
		w.say.line(word, what)
		if word == "refused" || word == "GOT IN" {
			what, _, _ = strings.Cut(strings.TrimSuffix(what, ":"), ": ")
			w.tries = append(w.tries, attempt{"refused to " + what, word == "refused"})
		}
		return
	}
	w.say.line("", line)
}

func (w *watcher) saw(text string) bool { return bytes.Contains(w.all.Bytes(), []byte(text)) }
