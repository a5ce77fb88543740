package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

// build carries the desk from its first sign of life to walls that stand.
func (d *Desk) build(ctx context.Context) error {
	go d.hear()
	if err := d.prepareWatch(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var pending sync.WaitGroup
	defer pending.Wait()
	defer cancel()
	results := make(chan error, 2) // of what goes on beside: mounts and Attach
	waiting := 1                   // for Ready, and for each of them
	beside := func(f func() error) {
		waiting++
		pending.Add(1)
		go func() {
			defer pending.Done()
			results <- f()
		}()
	}
	if d.id.Borrowed {
		beside(d.handMounts)
	}
	if d.spec.Attach != nil {
		waiting++ // until Networked
	}
	for waiting > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-results:
			if err != nil {
				return err
			}
			waiting--
		case m, ok := <-d.heard:
			if !ok {
				return errGone
			}
			if err := d.hears(ctx, m, beside, &waiting); err != nil {
				return err
			}
		}
	}
	d.closeListening()
	return nil
}

var errGone = errors.New("PID 1 of the desk ended before the program started")

// setOff starts the program, and returns when it runs.
func (d *Desk) setOff(ctx context.Context) error {
	if err := d.goAhead(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case m, ok := <-d.heard:
		switch {
		case !ok:
			return errGone
		case m.Kind == desk.Begun && len(m.Files) == 0:
			// Not before: what is typed while PID 1 starts the program would stop
			// one that is not there yet, and PID 1 with it, as Ctrl-Z does.
			d.relayTerminal()
			return nil
		case m.Kind == desk.Failed:
			desk.CloseAll(m.Files)
			return startError(m)
		}
		desk.CloseAll(m.Files)
		return errUnexpected
	}
}

// hears handles one message of a desk whose walls are being built.
func (d *Desk) hears(ctx context.Context, m desk.Message, beside func(func() error), waiting *int) error {
	switch {
	case m.Kind == desk.Networked && len(m.Files) >= 4 && !d.networked:
		d.networked = true
		if d.spec.Attach == nil {
			desk.CloseAll(m.Files)
			return nil
		}
		sockets := d.sockets(m.Files)
		beside(func() error { return wrap("attaching the network", d.spec.Attach(ctx, sockets)) })
		*waiting--
	case m.Kind == desk.Terminal && d.spec.Terminal != nil && len(m.Files) == 1 && d.master == nil:
		return d.takeTerminal(m.Files[0])
	case m.Kind == desk.Listening && len(m.Files) <= 1:
		select {
		case d.listening <- m:
		default:
			desk.CloseAll(m.Files)
			return errUnexpected
		}
	case m.Kind == desk.Watched && d.spec.Executed != nil && len(m.Files) == 1 && d.executions == nil:
		d.attendExecutions(m.Files[0])
	case m.Kind == desk.Watched && d.spec.Executed != nil && len(m.Files) == 0 && d.executions == nil && d.unasked == "":
		d.unasked = m.Text
		if d.spec.MustAsk {
			return startError(desk.Message{Code: codeOwn, Text: "following what is executed: " + m.Text})
		}
	case m.Kind == desk.Ready && *waiting > 0 && !d.ready && len(m.Files) == 0:
		d.ready, d.landlock = true, int(m.Code)
		*waiting--
	case m.Kind == desk.Failed:
		return startError(m)
	default:
		desk.CloseAll(m.Files)
		return errUnexpected
	}
	return nil
}

var errUnexpected = errors.New("unexpected message on the desk's control socket")

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// startError turns PID 1's report into an error with the right exit code.
func startError(m desk.Message) error {
	code := int(m.Code)
	if code != 126 && code != 127 {
		code = codeOwn
	}
	s := &sandbox.StartError{Code: code, Err: errors.New(m.Text)}
	switch {
	case code != codeOwn:
	case appArmorRestricts(os.Geteuid(), setting):
		s.Fix = "carrel doctor --fix"
	case strings.Contains(m.Text, "/proc is covered"):
		s.Fix = "run Carrel on the host, or start the container with --security-opt systempaths=unconfined"
	case strings.Contains(m.Text, unix.ENOSYS.Error()), strings.Contains(m.Text, "seccomp"):
		s.Fix = "use Linux 5.15 or later, and in a container let its seccomp profile pass what Carrel needs: --security-opt seccomp=unconfined"
	}
	return s
}

// goAhead lets the program start and begins to watch it.
func (d *Desk) goAhead() error {
	if d.spec.Terminal != nil && d.master == nil {
		return errUnexpected
	}
	if d.streams != nil {
		if err := d.streams.read(); err != nil {
			return err
		}
	}
	// The watch asks PID 1 things, which takes nothing but Go before its program
	// runs: a watch begun first may ask first where the machine is crowded.
	err := d.link.Send(desk.Message{Kind: desk.Go})
	if err == nil {
		d.watch.start()
	}
	return unlessGone(err) // why it is gone is heard next
}

// sockets wraps what the desk opened.
func (d *Desk) sockets(fds []int) sandbox.Sockets {
	files := make([]*os.File, 5)
	for i, name := range []string{"tcp", "dns", "dns-tcp", "route", "netfilter"} {
		if i < len(fds) {
			files[i] = os.NewFile(uintptr(fds[i]), name)
		}
	}
	return sandbox.Sockets{TCP: files[0], DNS: files[1], DNSTCP: files[2], Route: files[3], Netfilter: files[4], Listen: d.listen, Dial: d.dialer}
}

// listen asks PID 1 for one more listening socket.
func (d *Desk) listen(addr string) (*os.File, error) { return d.socket("tcp " + addr) }

// dialer asks PID 1 for a socket to connect from outside.
func (d *Desk) dialer(family int) (*os.File, error) {
	if family == unix.AF_INET6 {
		return d.socket("dial ip6")
	}
	return d.socket("dial ip4")
}

// socket asks PID 1 for one more socket.
func (d *Desk) socket(text string) (*os.File, error) {
	d.asking.Lock()
	defer d.asking.Unlock()
	if d.closed {
		return nil, errors.New("the program has started: no more sockets")
	}
	if err := d.link.Send(desk.Message{Kind: desk.Listen, Text: text}); err != nil {
		return nil, fmt.Errorf("asking the desk for a socket (%s): %w", text, err)
	}
	select {
	case m := <-d.listening:
		if len(m.Files) == 1 {
			return os.NewFile(uintptr(m.Files[0]), text), nil
		}
		return nil, errors.New(m.Text)
	case <-d.process.reaped:
		return nil, errors.New("the desk is gone")
	}
}

func (d *Desk) closeListening() {
	d.asking.Lock()
	d.closed = true
	d.asking.Unlock()
}
