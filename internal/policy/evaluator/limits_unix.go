//go:build unix

package evaluator

import (
	"errors"

	"golang.org/x/sys/unix"
)

// setLimits sets the kernel's bounds. RLIMIT_DATA counts private writable
// memory; where a system has no such limit the watch is what there is.
func setLimits() error {
	return errors.Join(limit(unix.RLIMIT_DATA, maxData), limit(unix.RLIMIT_CORE, 0))
}

// noFiles keeps the process from writing to a file.
func noFiles() error { return limit(unix.RLIMIT_FSIZE, 0) }

func limit(resource int, max uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err != nil {
		return err
	}
	max = min(max, now.Max)
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: max, Max: max})
}

// blocking takes pipes out of the runtime's poller: an answer takes a few
// microseconds, and a thread that waits in the kernel wakes sooner. Whoever
// waits is woken by the end of the process at the latest.
func blocking(pipes ...any) error {
	for _, p := range pipes {
		f, ok := p.(interface{ Fd() uintptr })
		if !ok {
			return errors.New("a pipe that is no file")
		}
		if err := unix.SetNonblock(int(f.Fd()), false); err != nil {
			return err
		}
	}
	return nil
}
