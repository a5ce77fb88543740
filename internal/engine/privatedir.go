package engine

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/carrel-dev/carrel/internal/private"
)

// privateDir makes dir with mode 0700, closes one that others can reach, and
// refuses one that belongs to somebody else.
func privateDir(dir string) error {
	if err := private.MakeDir(dir); err != nil {
		if errors.Is(err, syscall.EROFS) || errors.Is(err, os.ErrPermission) {
			return &hintError{fmt.Errorf("making the state directory: %w", err), "set XDG_STATE_HOME to a directory you can write"}
		}
		return fmt.Errorf("making the state directory: %w", err)
	}
	if err := private.CloseDir(dir); err != nil {
		return fmt.Errorf("checking the state directory: %s %w", dir, err)
	}
	return nil
}
