package native

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

// takeTerminal accepts the desk's pty and gives it the user's window size.
func (d *Desk) takeTerminal(fd int) error {
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	d.master = os.NewFile(uintptr(fd), "pty")
	size, err := unix.IoctlGetWinsize(int(d.spec.Terminal.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return nil //nolint:nilerr // not a terminal: the relay knows what to do with it
	}
	return wrap("sizing the desk's terminal", unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size))
}

func (d *Desk) relayTerminal() {
	if d.spec.Terminal == nil {
		return
	}
	d.relayed = make(chan struct{})
	go func() {
		defer close(d.relayed)
		err := d.spec.Relay(d.life, sandbox.Pty{Master: d.master, Stopped: d.stopped, Continue: d.resume})
		if err != nil {
			d.blame(fmt.Errorf("relaying the terminal: %w", err))
			_ = d.Kill()
		} else if !d.over() {
			_ = d.Signal(syscall.SIGHUP) // the user's terminal went away
		}
	}()
}

func (d *Desk) resume() error { return d.link.Send(desk.Message{Kind: desk.Continue}) }
