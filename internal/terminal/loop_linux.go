package terminal

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	drainTime = 500 * time.Millisecond // for what the desk wrote before it ended
	retryTime = 20                     // ms, while nobody holds the desk's end of the pty
)

// loop moves bytes until the run ends. One goroutine does it all, so that
// nothing is left behind that could take the user's next key stroke.
func (r *relay) loop() error {
	for {
		fds, timeout := r.interest()
		ready, err := unix.Poll(fds, timeout)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for the terminal: %w", err)
		}
		// The desk's last words may still be on their way through the kernel
		// when the run has ended: its end of the pty being closed, or a moment
		// of silence, says that they were all.
		quiet := !r.ending.IsZero() && ready == 0
		r.hungUp = false
		if err := r.wakened(fds[2].Revents); err != nil {
			return err
		}
		if err := r.move(fds[0].Revents, fds[1].Revents); err != nil {
			return err
		}
		if !r.ending.IsZero() && (quiet || r.hungUp || time.Now().After(r.ending)) {
			return nil
		}
	}
}

// interest says what to wait for: only what there is room or data for.
func (r *relay) interest() ([]unix.PollFd, int) {
	user, master := unix.PollFd{Fd: int32(r.user.fd)}, unix.PollFd{Fd: int32(r.master)}
	timeout := -1
	if len(r.toDesk) < maxBuffer && r.ending.IsZero() {
		user.Events |= unix.POLLIN
	}
	if len(r.toUser) > 0 {
		user.Events |= unix.POLLOUT
	}
	if len(r.toUser) < maxBuffer {
		master.Events |= unix.POLLIN
	}
	if len(r.toDesk) > 0 {
		master.Events |= unix.POLLOUT
	}
	if r.hungUp { // poll would return at once, again and again
		master.Fd, timeout = -1, retryTime
	}
	if !r.ending.IsZero() {
		timeout = retryTime
	}
	return []unix.PollFd{user, master, {Fd: int32(r.wakeR), Events: unix.POLLIN}}, timeout
}

// wakened does what watch asked for.
func (r *relay) wakened(revents int16) error {
	if revents == 0 {
		return nil
	}
	var what [16]byte
	n, _ := unix.Read(r.wakeR, what[:])
	for _, w := range what[:max(n, 0)] {
		switch w {
		case wakeSize:
			r.resize()
		case wakeEnd:
			r.ending = time.Now().Add(drainTime)
		case wakeQuit:
			return errQuit
		case wakeStop:
			if err := r.suspend(); err != nil {
				return err
			}
		}
	}
	return nil
}

var errQuit = errors.New("ended by SIGQUIT")

func (r *relay) move(user, master int16) error {
	if user&unix.POLLIN != 0 {
		n, err := unix.Read(r.user.fd, r.in)
		if err := r.userError(n, err, true); err != nil {
			return err
		}
		r.toDesk = append(r.toDesk, r.in[:max(n, 0)]...)
	} else if user&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0 {
		return ErrHangup
	}
	if master&unix.POLLIN != 0 {
		if n, err := unix.Read(r.master, r.in); n > 0 {
			r.toUser = r.filter.Append(r.toUser, r.in[:n])
		} else {
			r.hungUp = err != unix.EAGAIN && err != unix.EINTR
		}
	} else if master&(unix.POLLHUP|unix.POLLERR) != 0 {
		r.hungUp = true
	}
	if len(r.toDesk) > 0 && master&unix.POLLOUT != 0 {
		n, err := unix.Write(r.master, r.toDesk)
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			n = len(r.toDesk) // nobody is there to read it
		}
		r.toDesk = drop(r.toDesk, n)
	}
	if len(r.toUser) > 0 {
		n, err := r.user.writeSome(r.toUser)
		if err := r.userError(n, err, false); err != nil {
			return err
		}
		r.toUser = drop(r.toUser, n)
	}
	return nil
}

func (r *relay) userError(n int, err error, reading bool) error {
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil
	case err != nil || n == 0 && reading:
		return ErrHangup
	}
	return nil
}

// drain takes what the desk has written so far.
func (r *relay) drain() {
	for len(r.toUser) < maxBuffer {
		n, err := unix.Read(r.master, r.in)
		if n <= 0 || err != nil {
			return
		}
		r.toUser = r.filter.Append(r.toUser, r.in[:n])
	}
}

func drop(b []byte, n int) []byte {
	if n <= 0 {
		return b
	}
	return b[:copy(b, b[n:])]
}
