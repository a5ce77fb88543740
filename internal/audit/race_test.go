//go:build race

package audit

// raced says that the race detector slows everything down: tests that only
// repeat the same for larger sizes leave those out.
const raced = true
