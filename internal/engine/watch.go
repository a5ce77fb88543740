package engine

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/term"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/approval"
	"github.com/carrel-dev/carrel/internal/terminal"
)

const watchEvery = 200 * time.Millisecond

// watcher shows actions as they begin to wait, and asks about them at a
// terminal.
type watcher struct {
	*Records
	asJSON bool
	lines  <-chan string               // what is typed; nil: nobody is asked
	ended  chan struct{}               // closed at the end of the terminal
	seen   map[carrel.Digest]time.Time // since when what was shown is open
}

// WatchPending shows actions as they begin to wait, until ctx ends or the
// terminal does. At a terminal it asks about each.
func WatchPending(ctx context.Context, host Host, asJSON bool) error {
	w := &watcher{Records: &Records{host}, asJSON: asJSON, ended: make(chan struct{})}
	if !asJSON && term.IsTerminal(int(host.Stdin.Fd())) {
		w.lines = w.typed()
	}
	for {
		open, err := w.open()
		if err != nil {
			return err
		}
		for _, q := range w.news(open) {
			if err := w.printQuestion(q, asJSON); err != nil {
				return err
			}
			if w.lines != nil && !w.ask(ctx, q) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.ended:
			return nil
		case <-time.After(watchEvery):
		}
	}
}

// typed is each line from now on. One reader serves all questions: one that
// outlives its question would take the answer to the next. It ends with the
// terminal, or with the process.
func (w *watcher) typed() <-chan string {
	lines := make(chan string, 100)
	go func() {
		defer close(w.ended)
		for in := bufio.NewScanner(w.host.Stdin); in.Scan(); {
			lines <- in.Text()
		}
	}()
	return lines
}

// open lists what waits now.
func (w *watcher) open() ([]approval.OpenQuestion, error) {
	s, err := w.answers()
	if s == nil || err != nil {
		return nil, err
	}
	return s.Questions()
}

// news are the questions that were not open before.
func (w *watcher) news(open []approval.OpenQuestion) (fresh []approval.OpenQuestion) {
	seen := map[carrel.Digest]time.Time{}
	for _, q := range open {
		seen[q.Digest] = q.Since
		if !w.seen[q.Digest].Equal(q.Since) {
			fresh = append(fresh, q)
		}
	}
	w.seen = seen
	return fresh
}

// ask asks about q until it is answered, here or elsewhere, or too late. It
// returns false if there is nobody to ask any more.
func (w *watcher) ask(ctx context.Context, q approval.OpenQuestion) bool {
	discardTyped(w.host.Stdin) // before the question: no answer to it
	for len(w.lines) > 0 {
		<-w.lines
	}
	fmt.Fprint(w.host.Stderr, askWords)
	look := time.NewTicker(watchEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-w.ended:
			return false
		case line := <-w.lines:
			if t := wordOf(line, w.host.Stderr, q); t.word != "" {
				w.answer(ctx, q, t)
			}
			return true
		case <-look.C:
		}
		if !w.waits(q) {
			fmt.Fprintln(w.host.Stderr, "\ncarrel: answered elsewhere, or too late")
			return true
		}
	}
}

// waits reports whether q is still open; in doubt it is.
func (w *watcher) waits(q approval.OpenQuestion) bool {
	open, err := w.open()
	return err != nil || slices.ContainsFunc(open, func(o approval.OpenQuestion) bool { return o.Digest == q.Digest && o.Since.Equal(q.Since) })
}

func (w *watcher) answer(ctx context.Context, q approval.OpenQuestion, t typed) {
	opts := ActionAnswer{Remember: t.remember(), Reason: "at the terminal", Digest: string(q.Digest)}
	if err := AnswerAction(ctx, w.host, string(q.Action.ID), t.granted(), opts); err != nil {
		fmt.Fprintf(w.host.Stderr, "carrel: %s\n", terminal.EscapeText(err.Error()))
	}
}
