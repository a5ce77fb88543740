package native

import (
	"golang.org/x/sys/unix"
)

// tell is a line for the standard error of a process inside.
type tell struct {
	stderr int
	text   string
}

// tell says to a process why its command was refused. Its standard error is
// borrowed as the process has it: opened anew, it could be more than that.
func (x *executions) tell(pid int, text string) {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(process)
	fd, err := unix.PidfdGetfd(process, 2, 0)
	if err != nil {
		return
	}
	select {
	case x.tells <- tell{fd, text}:
	default: // told often enough
		unix.Close(fd)
	}
}

// deliver writes apart from whoever answers: a pipe inside that nobody reads
// holds up nothing else.
func (x *executions) deliver() {
	for t := range x.tells {
		ready := []unix.PollFd{{Fd: int32(t.stderr), Events: unix.POLLOUT}}
		if n, err := unix.Poll(ready, 0); err == nil && n == 1 && ready[0].Revents&unix.POLLOUT != 0 {
			_, _ = unix.Write(t.stderr, []byte(t.text)) // for the reader's good only
		}
		unix.Close(t.stderr)
	}
}
