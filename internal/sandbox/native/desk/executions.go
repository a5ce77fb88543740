package desk

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watchExecutions makes every execve and execveat of the calling thread, and
// of what it starts, wait for whoever holds the descriptor that it returns.
// no_new_privs must be set. Other architectures are left to the table, which
// ends them.
func watchExecutions() (int, error) {
	p := []unix.SockFilter{
		load(offCall),
		jump(unix.BPF_JEQ, unix.SYS_EXECVE, 1, 0),
		jump(unix.BPF_JEQ, unix.SYS_EXECVEAT, 0, 1),
		ret(unix.SECCOMP_RET_USER_NOTIF),
		ret(unix.SECCOMP_RET_ALLOW),
	}
	// A waiting call that any signal may interrupt would be asked about again
	// and again; before Linux 5.19 it is.
	fd, err := notifier(p, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	if errors.Is(err, unix.EINVAL) {
		fd, err = notifier(p, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	}
	if err != nil {
		return -1, fmt.Errorf("seccomp notification: %w", err)
	}
	return fd, nil
}

func notifier(p []unix.SockFilter, flags uintptr) (int, error) {
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// handOverExecutions lets the supervisor answer for what the calling thread,
// and all that it starts, executes; or says why nobody can, which is the
// supervisor's to judge.
func handOverExecutions(link *Link) error {
	fd, err := watchExecutions()
	if errors.Is(err, unix.EBUSY) {
		err = fmt.Errorf("another program outside listens for the calls of this one: %w", err)
	}
	if err != nil {
		return link.Send(Message{Kind: Watched, Text: err.Error()})
	}
	defer unix.Close(fd)
	return link.Send(Message{Kind: Watched, Files: []int{fd}})
}
