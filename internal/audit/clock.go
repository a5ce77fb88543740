package audit

import (
	"sync/atomic"
	"time"
)

// moment is one reading of the clocks, in microseconds: the wall's, and the
// one that counts from boot and that nobody sets (0 where there is none).
type moment struct{ wall, boot int64 }

// reading is when the boot clock was last asked, and what it said.
type reading struct {
	at   time.Time
	boot int64
}

var lastReading atomic.Pointer[reading]

// sameClocks is how far the wall clock may move against the process's own one
// before the boot clock is asked again: asking is a system call. The machine
// slept, or somebody set the clock, if they move apart.
const sameClocks = int64(time.Millisecond / time.Microsecond)

func now() moment {
	at := time.Now()
	if last := lastReading.Load(); last != nil && last.boot > 0 {
		passed := at.Sub(last.at).Microseconds() // by a clock that nobody sets
		if apart := at.UnixMicro() - last.at.UnixMicro() - passed; -sameClocks < apart && apart < sameClocks {
			return moment{at.UnixMicro(), last.boot + passed}
		}
	}
	boot := bootMicros()
	at = time.Now() // after the boot clock, so that what is added to it never runs ahead of it
	lastReading.Store(&reading{at, boot})
	return moment{at.UnixMicro(), boot}
}

// jumpLimit is how far the wall clock may drift from the boot clock between
// two batches before the log says that it jumped. Slewing stays below it.
const jumpLimit = int64(2 * time.Second / time.Microsecond)

// jump returns by how much the wall clock jumped between two readings. After
// a reboot only a step back can be told.
func jump(before, after moment, sameBoot bool) int64 {
	passed := int64(0)
	if sameBoot {
		passed = after.boot - before.boot
	}
	switch d := after.wall - before.wall - passed; {
	case before.wall == 0:
		return 0
	case d < -jumpLimit, sameBoot && d > jumpLimit:
		return d
	}
	return 0
}
