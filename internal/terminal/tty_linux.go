package terminal

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// tty is the user's terminal, opened once more so that it can be made
// non-blocking without the shell, which shares the first one, noticing.
type tty struct {
	fd    int
	saved *unix.Termios // as found; nil while not raw
	block bool          // could not be opened once more: writes may wait
}

func openTTY(f *os.File) (*tty, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	t := &tty{}
	cerr := conn.Control(func(raw uintptr) {
		if _, err = unix.IoctlGetTermios(int(raw), unix.TCGETS); err != nil {
			err = fmt.Errorf("%s is not a terminal: %w", f.Name(), err)
			return
		}
		t.fd, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", raw), unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil { // a terminal of another user, as after su
			t.block = true
			t.fd, err = unix.FcntlInt(raw, unix.F_DUPFD_CLOEXEC, 3)
		}
	})
	if cerr != nil {
		return nil, cerr
	}
	return t, err
}

func (t *tty) close() { unix.Close(t.fd) }

// raw passes every key on as it is, Ctrl-C and Ctrl-Z too.
func (t *tty) raw() error {
	saved, err := unix.IoctlGetTermios(t.fd, unix.TCGETS)
	if err != nil {
		return err
	}
	raw := *saved
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(t.fd, unix.TCSETS, &raw); err != nil {
		return err
	}
	t.saved = saved
	return nil
}

// restore sets the modes as they were found and throws away what was typed
// and not read.
func (t *tty) restore() {
	if t.saved == nil {
		return
	}
	_ = unix.IoctlSetTermios(t.fd, unix.TCSETSF, t.saved)
	t.saved = nil
}

func (t *tty) writeSome(p []byte) (int, error) {
	if t.block {
		p = p[:min(len(p), 256)]
	}
	return unix.Write(t.fd, p)
}

// writeTime bounds how long a terminal that takes nothing is waited for when
// it is given back.
const writeTime = 2 * time.Second

// write writes all of p, unless the terminal does not take it.
func (t *tty) write(p []byte) {
	for end := time.Now().Add(writeTime); len(p) > 0 && time.Now().Before(end); {
		fds := []unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLOUT}}
		if n, err := unix.Poll(fds, 100); err != nil && err != unix.EINTR {
			return
		} else if n <= 0 {
			continue
		}
		n, err := t.writeSome(p)
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			return
		}
		p = p[max(n, 0):]
	}
}

// barrierTime bounds the wait for the terminal's last answer: a round trip
// over a slow line.
const barrierTime = time.Second

// barrier asks the terminal something that no desk can ask (its status, which
// the filter drops) and throws away everything up to the answer. Terminals
// answer in order, so after it no answer to a question of the desk is left to
// be typed into the user's shell.
func (t *tty) barrier() {
	t.write([]byte("\x1b[5n"))
	var seen []byte
	for end := time.Now().Add(barrierTime); time.Now().Before(end); {
		fds := []unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(time.Until(end).Milliseconds())+1)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 || fds[0].Revents&unix.POLLIN == 0 {
			return
		}
		var buf [1024]byte
		if n, err = unix.Read(t.fd, buf[:]); err != nil && err != unix.EAGAIN || n == 0 {
			return
		}
		seen = append(seen, buf[:max(n, 0)]...)
		if bytes.Contains(seen, []byte("\x1b[0n")) || bytes.Contains(seen, []byte("\x1b[3n")) {
			return
		}
		seen = seen[max(0, len(seen)-8):]
	}
}
