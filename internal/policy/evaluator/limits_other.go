//go:build !unix

package evaluator

// setLimits does nothing where processes cannot limit themselves: the watch
// is what there is.
func setLimits() error { return nil }

func noFiles() error { return nil }

func blocking(...any) error { return nil }
