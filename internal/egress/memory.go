package egress

import (
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

const (
	// maxLive bounds what the supervisor's memory holds. A desk that leaves
	// many answers unread, or many requests half said, could fill the host's.
	maxLive = 1 << 30
	// fewHolders is how many connections and requests need no watch: they
	// hold some MiB each at most.
	fewHolders = 64
	// memoryWatch is how often it is looked while there are more.
	memoryWatch = 200 * time.Millisecond
)

// memory watches what the connections of a desk hold.
type memory struct {
	most    uint64 // bytes
	holders atomic.Int64
	watched atomic.Bool
}

// errMemory ends what is under way when it holds too much.
var errMemory = &ending{"egress/memory", "what the desk has under way holds more memory than it may, so all of it was ended", []string{"read answers as they come, and have fewer open at once"}}

// hold counts a connection or a request until release.
func (d *Door) hold() {
	if d.memory.holders.Add(1) > fewHolders && d.memory.watched.CompareAndSwap(false, true) {
		d.run(d.watchMemory)
	}
}

func (d *Door) release() { d.memory.holders.Add(-1) }

// watchMemory ends everything when memory runs short, until there are few.
func (d *Door) watchMemory() {
	defer d.memory.watched.Store(false)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for tick := time.Tick(memoryWatch); d.memory.holders.Load() > fewHolders; {
		select {
		case <-d.ctx.Done():
			return
		case <-tick:
		}
		if metrics.Read(live); live[0].Value.Uint64() > d.memory.most {
			d.count("memory_full")
			d.endAll(errMemory)
			debug.FreeOSMemory() // else the next look would see what is gone
		}
	}
}
