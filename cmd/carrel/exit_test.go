package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/carrel-dev/carrel/internal/engine"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/sandbox"
)

// The help names every exit code that a verb has, and no other.
func TestHelpNamesTheExitCodes(t *testing.T) {
	have := map[string]bool{}
	for _, err := range []error{
		nil, errors.New("other"), &engine.UsageError{Err: errors.New("usage")}, gate.ErrDenied, gate.ErrPending, gate.ErrExpired, context.DeadlineExceeded,
		&sandbox.StartError{Code: 125, Err: errors.New("own")}, &sandbox.StartError{Code: 126, Err: errors.New("cannot")}, &sandbox.StartError{Code: 127, Err: errors.New("not found")},
	} {
		have[fmt.Sprint(exitCode(err))] = true
	}
	named := regexp.MustCompile(`\b\d+\b`).FindAllString(rootExit, -1)
	for _, code := range named {
		if !have[code] {
			t.Errorf("the help names exit code %s, which nothing returns", code)
		}
	}
	for code := range have {
		if !slices.Contains(named, code) {
			t.Errorf("the help does not name exit code %s", code)
		}
	}
}
