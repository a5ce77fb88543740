package desk

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// attend reaps and carries out orders. It returns when the program has ended,
// or at once when the supervisor is gone.
func attend(link *Link, orders <-chan Message, a agent) int {
	ended := make(chan syscall.WaitStatus)
	go reap(link, a, ended)
	for {
		select {
		case status := <-ended:
			_ = link.Send(Message{Kind: Ended, Code: int32(status)})
			return 0
		case m, ok := <-orders:
			if !ok {
				return codeOwn
			}
			if m.Kind == Tally {
				_ = link.Send(Message{Kind: Tallied, Text: strconv.FormatInt(systemV(), 10)})
			}
			a.obey(m)
		}
	}
}

// reap collects every process that ends inside; orphans become PID 1's.
func reap(link *Link, a agent, ended chan<- syscall.WaitStatus) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return
		case pid != a.pid:
		case status.Stopped():
			_ = link.Send(Message{Kind: Stopped, Code: int32(status.StopSignal())})
		default:
			ended <- status
			return
		}
	}
}

// obey carries out one order. Errors mean that the program has just ended.
func (a agent) obey(m Message) {
	switch m.Kind {
	case Pass:
		_ = unix.Kill(-a.pid, unix.Signal(m.Code))
		if sig := unix.Signal(m.Code); sig == unix.SIGTERM || sig == unix.SIGHUP {
			_ = unix.Kill(-a.pid, unix.SIGCONT) // a stopped program would not hear it
		}
	case Continue:
		if a.tty >= 0 {
			_ = unix.IoctlSetPointerInt(a.tty, unix.TIOCSPGRP, a.pid)
		}
		_ = unix.Kill(-a.pid, unix.SIGCONT)
	}
	CloseAll(m.Files)
}

// systemV is the memory of the desk's shared segments, in bytes: they live as
// long as the desk, attached or not, and only inside can they be counted.
func systemV() (sum int64) {
	b, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		return 0 // a kernel without them
	}
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) < 16 {
			continue
		}
		for _, column := range f[14:16] { // resident and swapped
			n, _ := strconv.ParseInt(column, 10, 64) // 0 in the heading
			sum += n
		}
	}
	return sum
}
