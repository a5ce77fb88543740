package workspace

import (
	"bytes"
	"encoding/gob"
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
	f, err := os.Open(s.pendingFile())
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("reading the desk's pending work: %w", err)
	}
	defer f.Close()
	if err := gob.NewDecoder(f).Decode(&p); err != nil {
		return p, fmt.Errorf("reading the desk's pending work: %w", err)
	}
	return p, nil
}

func (s *Seat) writePending(p pendingWork) error {
	if len(p.Paths) == 0 {
		err := os.Remove(s.pendingFile())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("noting the desk's pending work: %w", err)
		}
		return nil
	}
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(p)
	if err == nil {
		err = private.Replace(s.pendingFile(), b.Bytes())
	}
	if err != nil {
		return fmt.Errorf("noting the desk's pending work: %w", err)
	}
	return nil
}
