package engine

import (
	"fmt"

	"github.com/carrel-dev/carrel"
)

// hintError is an error with the next step to take.
type hintError struct {
	error
	hint string
}

// Hint is the next step.
func (e *hintError) Hint() string { return e.hint }

// Unwrap returns the cause.
func (e *hintError) Unwrap() error { return e.error }

// UsageError is a wrong argument or flag: nothing was tried.
type UsageError struct{ Err error }

// Error implements error.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Err }

func misused(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// whereNamed says which verb prints the identifiers of a kind.
var whereNamed = map[string]string{
	"run_": "carrel runs --all lists the runs",
	"chg_": "carrel pending lists the changes that wait, carrel runs the runs they came of",
	"act_": "carrel pending lists the actions that wait, carrel log show --json those of a run",
	"rec_": "carrel log show --json prints the records with their identifiers",
}

// checkID refuses what a user typed in the place of an identifier.
func checkID(id, prefix string) error {
	if err := carrel.CheckID(id, prefix); err != nil {
		return &hintError{&UsageError{err}, whereNamed[prefix]}
	}
	return nil
}
