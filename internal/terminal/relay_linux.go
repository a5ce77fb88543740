package terminal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// Options join a user's terminal with a desk's pty. The files stay the
// caller's to close.
type Options struct {
	Terminal *os.File // the user's
	Master   *os.File // of the desk's pty
	// Stopped tells that everything at the desk has stopped, as Ctrl-Z does.
	// The relay then gives the terminal back, stops this process's group, and
	// when that is continued takes the terminal again and calls Continue.
	Stopped  <-chan struct{}
	Continue func() error
	// Dropped is told the kind of each sequence that was kept from the user's
	// terminal. It may be nil, and must return at once.
	Dropped func(kind string)
	// Stop stops this process's group; nil means with SIGTSTP, as a shell
	// expects. For tests.
	Stop func() error
}

// ErrHangup is the end of the user's terminal.
var ErrHangup = errors.New("the terminal is gone")

// Relay joins the terminal and the pty until ctx ends, which the caller makes
// happen when the run is over: then what the desk still has to say is passed
// on, the terminal is given back as it was found, and its input is thrown
// away. The terminal is given back on every path out, panics included. If the
// terminal itself is gone the error is ErrHangup.
//
// The caller must end ctx on the signals it handles; SIGQUIT, which ends a Go
// program where it stands, is handled here.
func Relay(ctx context.Context, o Options) error {
	err := join(ctx, o)
	if errors.Is(err, errQuit) {
		signal.Reset(unix.SIGQUIT)
		_ = unix.Kill(unix.Getpid(), unix.SIGQUIT)
	}
	return err
}

func join(ctx context.Context, o Options) error {
	r, err := newRelay(o)
	if err != nil {
		return fmt.Errorf("joining the terminal and the desk: %w", err)
	}
	defer r.close()
	if err := r.enter(); err != nil {
		return fmt.Errorf("taking the terminal: %w", err)
	}
	defer r.leave()
	stop := r.watch(ctx, o)
	defer stop()
	return r.loop()
}

// maxBuffer bounds what waits in either direction: what a terminal shows in a
// few frames, or a large paste.
const maxBuffer = 64 << 10

// relay is owned by the goroutine that runs Relay, but for wake, which watch
// writes to.
type relay struct {
	Options
	user   *tty
	master int
	wakeR  int
	wakeW  *os.File
	filter Filter

	toDesk, toUser []byte
	in             []byte    // scratch
	hungUp         bool      // the desk has nobody at its end just now
	ending         time.Time // not zero: pass on what is left until then
}

// What watch says through the pipe.
const (
	wakeSize = 's'
	wakeStop = 'z'
	wakeEnd  = 'e'
	wakeQuit = 'q'
)

func newRelay(o Options) (*relay, error) {
	r := &relay{Options: o, in: make([]byte, 16<<10), filter: Filter{Queries: true, Dropped: o.Dropped}}
	if r.Stop == nil {
		r.Stop = func() error { return unix.Kill(0, unix.SIGTSTP) }
	}
	var err error
	if r.master, err = duplicate(o.Master); err != nil {
		return nil, err
	}
	if r.user, err = openTTY(o.Terminal); err != nil {
		unix.Close(r.master)
		return nil, err
	}
	var p [2]int
	if err = unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		unix.Close(r.master)
		r.user.close()
		return nil, err
	}
	r.wakeR, r.wakeW = p[0], os.NewFile(uintptr(p[1]), "wake")
	return r, nil
}

// duplicate returns a non-blocking descriptor of the same pty master. The mode
// is shared with the caller's, who does not use it meanwhile.
func duplicate(f *os.File) (fd int, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := conn.Control(func(raw uintptr) {
		fd, err = unix.FcntlInt(raw, unix.F_DUPFD_CLOEXEC, 3)
	})
	if err = errors.Join(cerr, err); err != nil {
		return -1, err
	}
	return fd, unix.SetNonblock(fd, true)
}

func (r *relay) close() {
	unix.Close(r.master)
	unix.Close(r.wakeR)
	r.wakeW.Close()
	r.user.close()
}

// watch turns signals and channels into bytes of the wake pipe. The pipe
// cannot block: at most a few bytes are ever in it, and a full one wakes too.
func (r *relay) watch(ctx context.Context, o Options) (stop func()) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGWINCH, unix.SIGQUIT)
	done, finished := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(finished)
		ended := ctx.Done()
		for {
			what := byte(wakeSize)
			select {
			case <-done:
				return
			case <-ended:
				what, ended = wakeEnd, nil
			case <-o.Stopped:
				what = wakeStop
			case s := <-signals:
				if s == unix.SIGQUIT {
					what = wakeQuit
				}
			}
			_, _ = r.wakeW.Write([]byte{what})
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
		<-finished
	}
}

// enter makes the user's terminal raw and gives the desk its size.
func (r *relay) enter() error {
	if err := r.user.raw(); err != nil {
		return err
	}
	r.resize()
	return nil
}

// leave gives the terminal back: what was switched is undone, answers to
// questions of the desk are waited for and thrown away with everything else
// that was typed, and the modes are restored.
func (r *relay) leave() {
	r.drain()
	r.user.write(r.toUser)
	r.toUser = r.toUser[:0]
	r.user.write(r.filter.Reset())
	if r.filter.Asked() {
		r.user.barrier()
		r.filter.used.queries = false
	}
	r.user.restore()
}

func (r *relay) resize() {
	if size, err := unix.IoctlGetWinsize(r.user.fd, unix.TIOCGWINSZ); err == nil && size.Row > 0 {
		_ = unix.IoctlSetWinsize(r.master, unix.TIOCSWINSZ, size)
	}
}

// suspend gives the terminal to the shell and takes it again when the shell
// continues this process.
func (r *relay) suspend() error {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	r.leave()
	if err := r.Stop(); err != nil {
		return fmt.Errorf("stopping as the desk did: %w", err)
	}
	// A group without a shell to continue it is not stopped by the kernel:
	// then the desk goes on at once.
	select {
	case <-continued:
	case <-time.After(200 * time.Millisecond):
	}
	if err := r.enter(); err != nil {
		return fmt.Errorf("taking the terminal again: %w", err)
	}
	if r.Continue == nil {
		return nil
	}
	if err := r.Continue(); err != nil {
		return fmt.Errorf("continuing the desk: %w", err)
	}
	return nil
}
