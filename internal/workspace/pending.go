package workspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/private"
)

// pendingWork is what the last capture of a finished run found: work that
// waits at the desk, and what each path of it was based on.
type pendingWork struct {
	Paths map[carrel.Text]pendingPath
}

type pendingPath struct {
	Stamp  time.Time        // of the run that first altered it
	Before carrel.FileState // zero digest if it was not known
	After  carrel.FileState // what the capture found at the desk
}

func (s *Seat) pendingFile() string { return filepath.Join(s.dir, "pending") }

func (s *Seat) readPending() (pendingWork, error) {
	p := pendingWork{}
	if err := readGob(s.pendingFile(), &p); err != nil {
		return p, fmt.Errorf("reading the desk's pending work: %w", err)
	}
	return p, nil
}

func (s *Seat) writePending(p pendingWork) error {
	var err error
	if len(p.Paths) > 0 {
		err = writeGob(s.pendingFile(), p, private.Replace)
	} else if err = os.Remove(s.pendingFile()); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("noting the desk's pending work: %w", err)
	}
	return nil
}
