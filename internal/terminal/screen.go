package terminal

import (
	"fmt"
	"os"

	"golang.org/x/term"
)

// Screen returns a file to write to in the place of f, for a desk without a
// terminal of its own whose output is one all the same (its input is a pipe):
// what is written passes the filter, and no question does, since nobody would
// read the answer. done closes it, waits until all is shown, and gives the
// terminal back as it was. If f is no terminal it is returned as it is.
func Screen(f *os.File, dropped func(kind string)) (out *os.File, done func(), err error) {
	if f == nil || !term.IsTerminal(int(f.Fd())) {
		return f, func() {}, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("filtering what the terminal is shown: %w", err)
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		defer r.Close()
		filter := Filter{Dropped: dropped}
		in, clean := make([]byte, 16<<10), make([]byte, 0, 16<<10)
		for {
			n, err := r.Read(in)
			// A terminal that is gone takes nothing: the desk is not blamed.
			clean = filter.Append(clean[:0], in[:n])
			_, _ = f.Write(clean)
			if err != nil {
				_, _ = f.Write(filter.Reset())
				return
			}
		}
	}()
	return w, func() { w.Close(); <-finished }, nil
}
