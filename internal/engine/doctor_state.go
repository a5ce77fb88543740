//go:build linux

package engine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/terminal"
)

// cannotBeKept is why no state can be kept, so that no run starts; "" if it
// can. The kernel is asked about the directory, or about the one in which a run
// would begin to make what is missing; doctor makes nothing.
func (e *Records) cannotBeKept() string {
	for dir := e.state(); ; dir = filepath.Dir(dir) {
		err := unix.Access(dir+"/.", unix.W_OK|unix.X_OK)
		if errors.Is(err, fs.ErrNotExist) && dir != "/" {
			continue
		}
		if err != nil {
			return fmt.Sprintf("nothing can be made in %s: %v", dir, err)
		}
		return ""
	}
}

func writeState(out io.Writer, wrong string) error {
	if wrong == "" {
		return nil
	}
	_, err := fmt.Fprintf(out, "the state cannot be kept, and nothing starts until it can: %s\n  fix: set XDG_STATE_HOME to a directory you can write\n", terminal.Escape(wrong))
	return err
}
