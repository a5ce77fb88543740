package native

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// diagnosis keeps what PID 1 says on its own standard error: nothing, unless
// it crashes.
type diagnosis struct {
	done chan struct{}
	text []byte
}

const maxDiagnosis = 4096

func (g *diagnosis) read(from *os.File) {
	g.done = make(chan struct{})
	go func() {
		defer close(g.done)
		defer from.Close()
		g.text, _ = io.ReadAll(io.LimitReader(from, maxDiagnosis))
		_, _ = io.Copy(io.Discard, from)
	}()
}

// withDiagnosis adds PID 1's last words to an error. The desk must be gone.
func (d *Desk) withDiagnosis(err error) error {
	select {
	case <-d.diagnosis.done:
	case <-time.After(time.Second):
		return err
	}
	var s *sandbox.StartError
	if len(d.diagnosis.text) == 0 || errors.As(err, &s) {
		return err
	}
	first, _, _ := strings.Cut(string(d.diagnosis.text), "\n")
	return fmt.Errorf("%w (%q)", err, first)
}
