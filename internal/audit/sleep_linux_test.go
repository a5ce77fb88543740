package audit

import (
	"time"

	"golang.org/x/sys/unix"
)

// sleepExactly blocks a thread as a wait for the disk does; time.Sleep rounds
// up to milliseconds.
func sleepExactly(d time.Duration) {
	ts := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.Nanosleep(&ts, nil)
}
