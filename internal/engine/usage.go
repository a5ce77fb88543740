package engine

import (
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel"
)

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

// minDigits is how much of a digest must be given: fewer could fit by chance.
const minDigits = 8

// checkDigest refuses what has another digest than the user asked for.
func checkDigest(what string, is carrel.Digest, want, next string) error {
	if want == "" {
		return nil
	}
	digits := strings.TrimPrefix(want, "sha256:")
	if len(digits) < minDigits {
		return misused("--digest %q: give at least %d digits", want, minDigits)
	}
	if !strings.HasPrefix(is.Hex(), digits) {
		return &hintError{fmt.Errorf("%s has digest %s, not %s", what, is.Hex(), digits), next}
	}
	return nil
}
