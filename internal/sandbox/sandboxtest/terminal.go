package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// screen is a relay that keeps what the desk's terminal shows.
type screen struct {
	mu    sync.Mutex
	shown bytes.Buffer
	pty   chan sandbox.Pty
}

func (s *screen) relay(_ context.Context, p sandbox.Pty) error {
	s.pty <- p
	buf := make([]byte, 4096)
	for {
		n, err := p.Master.Read(buf)
		s.mu.Lock()
		s.shown.Write(buf[:n])
		s.mu.Unlock()
		if errors.Is(err, syscall.EIO) || errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown.String()
}

// hostTerminal opens a pty for the supervisor's side.
func hostTerminal(t testing.TB) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 31, Col: 97}); err != nil {
		t.Fatal(err)
	}
	return master
}

func (b *bed) onTerminal(args ...string) (sandbox.Desk, *screen, sandbox.Pty) {
	b.t.Helper()
	s := b.spec(args...)
	view := &screen{pty: make(chan sandbox.Pty, 1)}
	s.Terminal, s.Relay = hostTerminal(b.t), view.relay
	d := b.mustStart(s)
	return d, view, <-view.pty
}

func terminal(b *bed) {
	d, view, pty := b.onTerminal("/bin/sh", "-c", `tty; stty size; trap "echo interrupted; exit 4" INT; trap "stty size" WINCH; echo ready; while :; do sleep 0.05; done`)
	b.waitFor(func() bool { return strings.Contains(view.text(), "ready") })
	if got := view.text(); !strings.Contains(got, "/dev/pts/0\r\n31 97\r\n") {
		b.t.Errorf("got %q", got)
	}
	if err := unix.IoctlSetWinsize(int(pty.Master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 11, Col: 22}); err != nil {
		b.t.Fatal(err)
	}
	b.waitFor(func() bool { return strings.Contains(view.text(), "11 22") })
	if _, err := pty.Master.Write([]byte{3}); err != nil {
		b.t.Fatal(err)
	}
	if exit, err := d.Wait(); err != nil || exit.Code != 4 {
		b.t.Errorf("exit %+v, %v: %q", exit, err, view.text())
	}
}

func stopAndContinue(b *bed) {
	d, view, pty := b.onTerminal("/bin/sh", "-c", `echo ready; read line; echo "got $line"; exit 6`)
	b.waitFor(func() bool { return strings.Contains(view.text(), "ready") })
	if _, err := pty.Master.Write([]byte{26}); err != nil { // Ctrl-Z
		b.t.Fatal(err)
	}
	<-pty.Stopped
	if err := pty.Continue(); err != nil {
		b.t.Fatal(err)
	}
	if _, err := pty.Master.Write([]byte("word\n")); err != nil {
		b.t.Fatal(err)
	}
	if exit, err := d.Wait(); err != nil || exit.Code != 6 || !strings.Contains(view.text(), "got word") {
		b.t.Errorf("exit %+v, %v: %q", exit, err, view.text())
	}
}

// hangUp: a terminal that goes away ends the run.
func hangUp(b *bed) {
	s := b.spec("/bin/sh", "-c", "sleep 30")
	s.Terminal = hostTerminal(b.t)
	s.Relay = func(context.Context, sandbox.Pty) error { return nil }
	d := b.mustStart(s)
	if exit, err := d.Wait(); err != nil || exit.Signal != syscall.SIGHUP {
		b.t.Errorf("exit %+v, %v", exit, err)
	}
}
