package desk

import (
	"errors"
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
