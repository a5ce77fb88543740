package audit

import "time"

// moment is one reading of the clocks, in microseconds: the wall's, and the
// one that counts from boot and that nobody sets (0 where there is none).
type moment struct{ wall, boot int64 }

func now() moment { return moment{time.Now().UnixMicro(), bootMicros()} }

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
