//go:build linux

package engine

import (
	"fmt"
	"os"

	"github.com/carrel-dev/carrel/internal/terminal"
)

// screen stands between a desk without a terminal of its own and a terminal
// that its output goes to all the same: carrel's input is a pipe then.
type screen struct {
	out, err *os.File
	done     []func()
}

// openScreen returns nil where the desk has a terminal of its own.
func (v *visit) openScreen() (*screen, error) {
	if v.interactive() {
		return nil, nil
	}
	s := &screen{}
	for _, f := range []struct{ from, to **os.File }{{&v.e.host.Stdout, &s.out}, {&v.e.host.Stderr, &s.err}} {
		to, done, err := terminal.Screen(*f.from, nil)
		if err != nil {
			s.close()
			return nil, fmt.Errorf("filtering the desk's output: %w", err)
		}
		*f.to, s.done = to, append(s.done, done)
	}
	return s, nil
}

// close shows what is left. It may be called twice.
func (s *screen) close() {
	if s == nil {
		return
	}
	for _, done := range s.done {
		done()
	}
	s.done = nil
}
