package engine

// hintError is an error with the next step to take.
type hintError struct {
	error
	hint string
}

// Hint is the next step.
func (e *hintError) Hint() string { return e.hint }

// Unwrap returns the cause.
func (e *hintError) Unwrap() error { return e.error }
