package sandboxtest

import (
	"context"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/selftest"
)

// attackVia leads this binary to the attacks, inside.
var attackVia = []string{"probe", "attack"}

// attacks carries out the table of package attack, as `carrel selftest` does,
// at a desk without a door.
func attacks(b *bed) {
	for _, path := range []string{"/etc/passwd", "/"} { // left open for children on purpose, as a shell might
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		if err != nil {
			b.t.Fatal(err)
		}
		defer unix.Close(fd)
	}
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	report, err := selftest.Run(b.t.Context(), selftest.Options{
		Self: self, Via: attackVia, Inside: "/workspace", Home: "/home/agent",
		Desk: func(_ context.Context, s *selftest.Stage, command []string, stdout *os.File) error {
			return b.onStage(s, command, stdout)
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, row := range report.Rows {
		b.t.(*testing.T).Run(row.Name, func(t *testing.T) {
			if !row.Held {
				t.Errorf("%s: %s", row.Tries, row.How)
			}
			if !row.Twin {
				t.Errorf("%s must work: %s", row.TwinTries, row.TwinHow)
			}
		})
	}
}

// onStage runs a command at a desk for a stage.
func (b *bed) onStage(s *selftest.Stage, command []string, stdout *os.File) error {
	spec := b.spec(append([]string{probePath}, command[1:]...)...)
	for i := range spec.Mounts {
		switch m := &spec.Mounts[i]; m.Target {
		case probePath:
			m.Source = s.Program
		case "/workspace":
			m.Lower = s.Workspace
		}
	}
	spec.Mounts = append(spec.Mounts,
		sandbox.Mount{Kind: sandbox.MountBind, Target: s.ReadOnly, Source: s.ReadOnly, Adopt: true},
		sandbox.Mount{Kind: sandbox.MountFile, Target: "/workspace/" + s.Hide()})
	spec.Limits.Pids = selftest.Pids
	spec.Stdout, spec.Stderr = stdout, os.Stderr
	d, err := b.start(spec)
	if err != nil {
		return err
	}
	_, err = d.Wait()
	return err
}
