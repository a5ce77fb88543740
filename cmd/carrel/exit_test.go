package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
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

// Ctrl-C is told as such, with what it interrupted.
func TestInterruptIsToldInWords(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{context.Canceled, "carrel: interrupted\n"},
		{fmt.Errorf("applying chg_1: %w", context.Canceled), "carrel: applying chg_1: interrupted\n"},
		{errors.New("other"), "carrel: other\n"},
	} {
		var out strings.Builder
		if report(&out, c.err); out.String() != c.want {
			t.Errorf("told %q, want %q", out.String(), c.want)
		}
	}
}
