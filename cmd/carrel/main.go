// Command carrel lends an autonomous agent a walled desk for one piece of
// work. This package is the command line only: flags, streams and exit codes;
// internal/engine does the work. It is trusted with reading the environment.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/carrel-dev/carrel/internal/engine"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/terminal"
)

func main() {
	if policy.Inside() || inside() {
		return
	}
	os.Exit(carrelMain())
}

// carrelMain runs one command and returns its exit code. The first interrupt
// or request to end is passed on and waited for; a second one ends carrel
// where it stands, and with it every desk.
func carrelMain() int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// Whoever read our output may be gone; the run is brought to its end even
	// so. Nobody reads the channel: being told is what makes writes fail.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() { // ends with the process
		s := <-signals
		signal.Stop(signals)
		cancel(&engine.Interrupted{Signal: s})
	}()
	return execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

func execute(ctx context.Context, args []string, stdin, stdout, stderr *os.File) int {
	app := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := app.root(args)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	code := exitCode(err)
	if err != nil {
		report(stderr, err)
	}
	return code
}

// report prints an error and, below it, what to do next.
func report(w io.Writer, err error) {
	var silent *exitStatus
	if errors.As(err, &silent) && silent.err == nil || readerGone(err) {
		return
	}
	text := err.Error()
	if before, ok := strings.CutSuffix(text, context.Canceled.Error()); ok {
		text = before + "interrupted"
	}
	fmt.Fprintf(w, "carrel: %s\n", terminal.EscapeText(text))
	if hint := hintFor(err); hint != "" {
		fmt.Fprintf(w, "  next: %s\n", terminal.EscapeText(hint))
	}
}
