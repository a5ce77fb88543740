//go:build linux

package engine

import (
	"runtime/debug"
	"sync"
	"time"
)

// startHeap is how much a start may allocate before memory is collected, and
// startTime how long: a start allocates a few megabytes, once.
const (
	startHeap = 32 << 20
	startTime = 200 * time.Millisecond
)

// spareHeap is how much garbage a run may always have. A run keeps a few
// megabytes, and the requests of a busy agent would have them searched dozens
// of times a second. Together with what a run keeps it stays below 48 MiB.
const spareHeap = 12 << 20

// spare counts as kept, and is never touched: it takes no memory.
var spare [][]byte

// collectLater puts the collection of memory off while the process's first run
// starts: it would take the processor from what the run waits for. Afterwards
// memory is collected as ever, with spareHeap more of garbage.
var collectLater = sync.OnceFunc(func() {
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(startHeap)
	time.AfterFunc(startTime, func() {
		spare = append(spare, make([]byte, spareHeap))
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
	})
})
