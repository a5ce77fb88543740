package terminal

import (
	"os"

	"golang.org/x/term"
)

// Colors reports whether to write colours to f: only to a terminal, and not
// where the user wants none (NO_COLOR, TERM=dumb or a flag; the caller knows).
func Colors(f *os.File, noColor bool) bool {
	return f != nil && !noColor && term.IsTerminal(int(f.Fd()))
}

// Width returns the number of columns of a terminal, or 80.
func Width(f *os.File) int {
	if f == nil {
		return 80
	}
	if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
		return w
	}
	return 80
}
