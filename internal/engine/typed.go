package engine

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/internal/approval"
)

// typed is what a person answered: a whole word, so that nobody says yes with
// a key that was meant for the agent.
type typed struct{ word string }

func (t typed) granted() bool { return t.word == "yes" || t.word == "run" || t.word == "rule" }

func (t typed) remember() string {
	switch t.word {
	case "run":
		return RememberRun
	case "rule":
		return RememberRule
	}
	return RememberAction
}

const askWords = "Type yes (once), run (for this run), rule (and propose one) or no; anything else leaves it: "

// askOn asks about q and reads one line from in. Another word than an answer
// is no answer.
func askOn(ctx context.Context, in *os.File, out io.Writer, q approval.OpenQuestion) (typed, error) {
	fmt.Fprint(out, askWords)
	line, err := readWord(ctx, in)
	if err != nil {
		return typed{}, err
	}
	return wordOf(line, out, q), nil
}

// wordOf is the answer that a line is. What is none leaves the question open.
func wordOf(line string, out io.Writer, q approval.OpenQuestion) typed {
	if t := (typed{strings.ToLower(strings.TrimSpace(line))}); t.granted() || t.word == "no" {
		return t
	}
	leftOpen(out, q)
	return typed{}
}

// leftOpen says who can answer yet.
func leftOpen(out io.Writer, q approval.OpenQuestion) {
	fmt.Fprintf(out, "left open until %s: carrel approve %s, or carrel deny %s, from another terminal\n", q.Until.Local().Format(time.TimeOnly), q.Action.ID, q.Action.ID)
}

// readWord reads a line, or returns when ctx ends. It reads no further than
// the line, so that what follows is still there for who asks next.
func readWord(ctx context.Context, in *os.File) (string, error) {
	type read struct {
		line string
		err  error
	}
	got := make(chan read, 1)
	go func() { // ends with the line, with the file, or with the process
		var b [1]byte
		var line []byte
		for len(line) < 100 {
			if _, err := in.Read(b[:]); err != nil {
				got <- read{"", err}
				return
			}
			if b[0] == '\n' {
				break
			}
			line = append(line, b[0])
		}
		got <- read{string(line), nil}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case r := <-got:
		return r.line, r.err
	}
}
