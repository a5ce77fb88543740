//go:build linux

package engine

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel/internal/gate"
)

// readLine reads one line that the user typed; an interrupt ends the wait.
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
		return "", ctx.Err()
	case r := <-got:
		if r.err != nil && r.line == "" {
			return "", gate.ErrPending
		}
		return strings.TrimSpace(r.line), nil
	}
}

// yes asks a question at the terminal.
func (e *Engine) yes(ctx context.Context, question string) (bool, error) {
	fmt.Fprintf(e.host.Stderr, "%s [y/N] ", question)
	answer, err := e.readLine(ctx)
	answer = strings.ToLower(answer)
	return err == nil && (answer == "y" || answer == "yes"), err
}
