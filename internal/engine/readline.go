//go:build linux

package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel/internal/gate"
)

// readLine reads one line that the user typed; an interrupt ends the wait. Where
// there was none, what is said next begins a line of its own.
func (e *Engine) readLine(ctx context.Context) (string, error) {
	if e.typed == nil {
		e.typed = bufio.NewReader(e.host.Stdin)
	}
	in := e.typed
	type read struct {
		line string
		err  error
	}
	got := make(chan read, 1)
	go func() { // ends with the line, or with the process
		line, err := in.ReadString('\n')
		got <- read{line, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(e.host.Stderr)
		return "", ctx.Err()
	case r := <-got:
		if r.err != nil && r.line == "" {
			fmt.Fprintln(e.host.Stderr)
			return "", gate.ErrPending
		}
		return strings.TrimSpace(r.line), nil
	}
}

// yes asks a question at the terminal. Whoever ends the input did not say yes.
func (e *Engine) yes(ctx context.Context, question string) (bool, error) {
	fmt.Fprintf(e.host.Stderr, "%s [y/N] ", question)
	answer, err := e.readLine(ctx)
	if errors.Is(err, gate.ErrPending) {
		return false, nil
	}
	answer = strings.ToLower(answer)
	return err == nil && (answer == "y" || answer == "yes"), err
}
