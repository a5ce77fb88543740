package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"syscall"

	"github.com/carrel-dev/carrel/internal/engine"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/sandbox"
)

// The exit codes of every verb but run, which passes the agent's own code on
// and keeps 125, 126 and 127 for what container runtimes use them for.
const (
	exitOK      = 0
	exitError   = 1
	exitUsage   = 2
	exitDenied  = 3
	exitPending = 4
	exitExpired = 5
	exitCarrel  = 125
	// exitReaderGone is what shells say of a program that SIGPIPE ended.
	exitReaderGone = 128 + int(syscall.SIGPIPE)
)

// exitStatus is an error that only sets the exit code, or sets it for err.
type exitStatus struct {
	code int
	err  error
}

func (e *exitStatus) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitStatus) Unwrap() error { return e.err }

// hinted is an error with the next step to take.
type hinted interface{ Hint() string }

func exitCode(err error) int {
	var status *exitStatus
	var usage *engine.UsageError
	var start *sandbox.StartError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &status):
		return status.code
	case readerGone(err):
		return exitReaderGone
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &start):
		return start.Code
	case errors.Is(err, gate.ErrPending):
		return exitPending
	case errors.Is(err, gate.ErrExpired), errors.Is(err, context.DeadlineExceeded):
		return exitExpired
	case errors.Is(err, gate.ErrDenied):
		return exitDenied
	}
	return exitError
}

// errorNoData is ERROR_NO_DATA, which is what Windows says for EPIPE.
const errorNoData = syscall.Errno(232)

// readerGone reports that nobody reads our output any more, as in
// `carrel log show | head`, which is nothing to complain of.
func readerGone(err error) bool {
	var path *fs.PathError
	if !errors.As(err, &path) || path.Path != os.Stdout.Name() {
		return false
	}
	return errors.Is(path, syscall.EPIPE) || runtime.GOOS == "windows" && errors.Is(path, errorNoData)
}

func hintFor(err error) string {
	var h hinted
	var start *sandbox.StartError
	var refusal *gate.Refusal
	switch {
	case errors.As(err, &h):
		return h.Hint()
	case errors.As(err, &start):
		return start.Fix
	case errors.As(err, &refusal) && len(refusal.Decision.NextSteps) > 0:
		return refusal.Decision.NextSteps[0]
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room where Carrel keeps its state (carrel runs prune, carrel discard); what is at the desks is not lost"
	case errors.Is(err, syscall.EROFS):
		return "Carrel's state must be writable: mount it so, or set XDG_STATE_HOME to another directory"
	}
	return ""
}
