// Package desk is everything of Carrel that runs inside a native desk: PID 1,
// which builds the walls and afterwards only reaps, passes signals on and
// reports, and the restricted thread of it that starts the agent.
//
// It owns no key, no log and no policy. The supervisor trusts it until the
// agent starts, and treats every word from it as hostile afterwards. It must
// stay small: it imports the standard library and x/sys only, and its plan
// comes in one message.
package desk

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Name is argv[0] of PID 1. A program that embeds this package calls Main
// first thing when it finds itself called so.
const Name = "carrel-init"

// What this program is besides PID 1, by its first argument.
const (
	Hold = "hold" // keeps a user namespace alive until its standard input ends
	Try  = "try"  // tries an overlay of the three directories that follow
	Look = "look" // looks at a desk from inside and says which walls it misses
)

// controlFD is the one descriptor that PID 1 starts with, besides 0 to 2,
// which are not the agent's.
const controlFD = 3

// Exit codes of a start that failed.
const (
	codeOwn           = 125
	codeNotExecutable = 126
	codeNotFound      = 127
)

// errand does what is not PID 1's work.
func errand(what string, args []string) int {
	switch {
	case what == Hold:
		_, _ = unix.Read(0, make([]byte, 1))
		return 0
	case what == Try && len(args) == 3:
		return tryOverlay(args[0], args[1], args[2])
	case what == Look:
		return look()
	}
	return codeOwn
}

// tryOverlay reports on standard error why an overlay cannot be had.
func tryOverlay(lower, upper, work string) int {
	fd, err := OpenTree(&Mount{Kind: Overlay, Lower: lower, Upper: upper, Work: work}, -1)
	if err != nil {
		fmt.Fprint(os.Stderr, err)
		return 1
	}
	unix.Close(fd)
	return 0
}

// Failure is why a desk could not be built or its program not started.
type Failure struct {
	Code int // exit code that it deserves: 125, 126 or 127
	Step string
	Err  error
}

// Error implements error.
func (f *Failure) Error() string { return fmt.Sprintf("%s: %v", f.Step, f.Err) }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

func failed(step string, err error) error {
	if err == nil {
		return nil
	}
	return &Failure{Code: codeOwn, Step: step, Err: err}
}

// Main is PID 1. It returns the exit code of the process when the run is over
// or when the supervisor is gone; the caller must exit with it at once, which
// ends everything inside.
func Main() int {
	if len(os.Args) > 1 {
		return errand(os.Args[1], os.Args[2:])
	}
	if unix.Getpid() != 1 {
		return codeOwn // nobody starts this by hand
	}
	unix.CloseOnExec(controlFD)
	link, err := NewLink(controlFD)
	if err != nil {
		return codeOwn
	}
	code, err := run(link)
	if err == nil {
		return code
	}
	var f *Failure
	if !errors.As(err, &f) {
		f = &Failure{Code: codeOwn, Step: "building the desk", Err: err}
	}
	_ = link.Send(Message{Kind: Failed, Code: int32(f.Code), Text: f.Error()})
	return f.Code
}
