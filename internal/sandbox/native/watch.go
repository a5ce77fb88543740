package native

import (
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

const (
	// Where the kernel does not hold the limit, memory is looked at the more
	// often the less is left, as if a program took it at this many bytes a
	// second, which few machines manage; but no more often, and no less, than
	// this.
	fastest    = 4 << 30
	watchLeast = 4 * time.Millisecond
	watchMost  = 250 * time.Millisecond
	// diskEvery is how often disks are looked at.
	diskEvery = time.Second
	// share bounds the time spent on looking: one part in so many.
	share = 20
)

// watch holds a desk to its limits. A nil watch does nothing.
type watch struct {
	desk   *Desk
	group  *cgroup // nil where memory is watched, or not limited
	disk   *diskGuard
	quit   chan struct{}
	closed sync.Once
	done   sync.WaitGroup
	wall   *time.Timer

	mu  sync.Mutex // guards what follows
	max int64
	// detached is what PID 1 said last of shared memory that no process need
	// have attached, asked that it was asked and has not answered.
	detached int64
	asked    bool
}

// prepareWatch sets up every limit that was asked for, before the program
// starts. What cannot be held is an error, unless best effort was asked for.
func (d *Desk) prepareWatch() error {
	w := &watch{desk: d, quit: make(chan struct{})}
	d.watch = w
	l := &d.spec.Limits
	if l.Memory > 0 {
		group, err := d.groupForMemory()
		w.group = group
		if err != nil {
			d.memoryNote = err.Error()
			if err := canWatchMemory(d.process.pid); err != nil && !l.BestEffort {
				return limitRefusal("memory", err)
			}
		}
	}
	guard, err := newDiskGuard(d.spec.DiskPaths, kernelDirs(d.spec.Mounts), l.Disk)
	if err != nil && l.Disk > 0 && !l.BestEffort {
		return limitRefusal("disk", err)
	}
	if guard != nil {
		places := placesInMemory(d.spec.Mounts)
		guard.inMemory = func() int64 { return filesInMemory(d.process.pid, places) }
		guard.nameless = func() int64 { return namelessFiles(inside(d.process.pid)) }
	}
	w.disk = guard
	return nil
}

// groupForMemory has the kernel hold the limit, where it lets us ask.
func (d *Desk) groupForMemory() (*cgroup, error) {
	run, pid, limit := string(d.spec.Run), d.process.pid, d.spec.Limits.Memory
	g, err := newCgroup(run, pid, limit)
	if err == nil || d.id.Borrowed {
		return g, err
	}
	g, serr := newScope(d.image, run, pid, limit)
	if serr != nil {
		return nil, fmt.Errorf("%w; %w", err, serr)
	}
	return g, nil
}

func limitRefusal(what string, err error) error {
	return &sandbox.StartError{Code: codeOwn, Err: fmt.Errorf("the %s limit cannot be held: %w", what, err),
		Fix: "leave the limit out, or accept that it may not hold with --limit-best-effort"}
}

// start begins to watch; the program starts now.
func (w *watch) start() {
	l := &w.desk.spec.Limits
	if l.Wall > 0 {
		w.wall = time.AfterFunc(l.Wall, w.timeIsUp)
	}
	if l.Memory > 0 && w.group == nil {
		w.every(watchLeast, threadTime, w.memory)
	}
	if w.disk != nil {
		w.every(diskEvery, sinceBoot, w.space)
	}
}

// timeIsUp asks the program to end, and ends it when its grace is over.
func (w *watch) timeIsUp() {
	w.desk.note("wall")
	if w.desk.Signal(syscall.SIGTERM) != nil {
		_ = w.desk.Kill()
	}
}

// every calls look until the desk ends, which says how long to pause, and
// never spends more than its share of time on it, as this clock tells it.
func (w *watch) every(first time.Duration, clock func() time.Duration, look func() time.Duration) {
	w.done.Add(1)
	go func() {
		defer w.done.Done()
		for pause := first; ; {
			select {
			case <-w.quit:
				return
			case <-time.After(pause):
			}
			pause = paced(clock, look)
		}
	}()
}

// paced looks, and says how long to pause then.
func paced(clock func() time.Duration, look func() time.Duration) time.Duration {
	runtime.LockOSThread() // whose time it may be
	defer runtime.UnlockOSThread()
	began := clock()
	pause := look()
	return max(pause, share*(clock()-began))
}

// threadTime is how long this thread has computed. Where processes crowd the
// machine, as those of a desk may, looking takes long and costs no more: they
// must not be looked at less for it.
func threadTime() time.Duration { return clockTime(unix.CLOCK_THREAD_CPUTIME_ID) }

// sinceBoot counts waiting for a disk, too.
func sinceBoot() time.Duration { return clockTime(unix.CLOCK_MONOTONIC) }

func clockTime(clock int32) time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(clock, &now) // there are these clocks
	return time.Duration(now.Nano())
}

func (w *watch) memory() time.Duration {
	used, err := memoryInside(w.desk.process.pid, placesInMemory(w.desk.spec.Mounts), w.tally())
	if err != nil {
		return watchMost // it is about to end
	}
	w.mu.Lock()
	w.max = max(w.max, used)
	w.mu.Unlock()
	left := w.desk.spec.Limits.Memory - used
	if left < 0 {
		w.desk.endFor("memory")
	}
	return pauseFor(left)
}

// pauseFor is how long a desk may go unseen that has so many bytes left.
func pauseFor(left int64) time.Duration {
	ms := time.Duration(left / (fastest / 1000))
	return min(max(ms*time.Millisecond, watchLeast), watchMost)
}

// tally returns what PID 1 said last of shared memory that only it can see,
// and asks it again.
func (w *watch) tally() int64 {
	w.mu.Lock()
	ask := !w.asked
	w.asked = true
	detached := w.detached
	w.mu.Unlock()
	if ask {
		_ = w.desk.link.Send(desk.Message{Kind: desk.Tally}) // it is about to end
	}
	return detached
}

// maxTally is more memory than there is: what PID 1 says is checked.
const maxTally = 1 << 50

// tallied takes PID 1's answer.
func (w *watch) tallied(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > maxTally || w == nil {
		return errUnexpected
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.asked {
		return errUnexpected
	}
	w.asked, w.detached = false, n
	return nil
}

func (w *watch) space() time.Duration {
	if w.disk.exceeded() {
		w.desk.endFor("disk")
	}
	return diskEvery
}

// stop ends the watch. It may be called more than once.
func (w *watch) stop() {
	if w == nil {
		return
	}
	w.closed.Do(func() {
		close(w.quit)
		if w.wall != nil {
			w.wall.Stop()
		}
		w.done.Wait()
		if w.group != nil {
			w.mu.Lock()
			w.max = w.group.peak()
			w.mu.Unlock()
			if w.group.killed() {
				w.desk.ranOut()
			}
			w.group.remove()
		}
	})
}

// lookLast holds a desk of which nothing runs any more to its limit on disks:
// a program may have ended before it was looked at. It then counts as ended by
// the limit, whatever it said itself.
func (w *watch) lookLast() {
	if w == nil || w.disk == nil || w.disk.limit == 0 || !w.disk.exceeded() {
		return
	}
	w.desk.mu.Lock()
	defer w.desk.mu.Unlock()
	if w.desk.cause == "" {
		w.desk.cause, w.desk.status = "disk", nil
	}
}

func (w *watch) peak() int64 {
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.max
}

// note remembers why the walls end the run, if nothing did before.
func (d *Desk) note(cause string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cause == "" && d.status == nil {
		d.cause = cause
	}
}

// endFor ends the desk for a reason that Exit names.
func (d *Desk) endFor(cause string) {
	d.note(cause)
	_ = d.Kill()
}

// ranOut says that the kernel killed for want of memory, if that is what
// ended the program.
func (d *Desk) ranOut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cause == "" && (d.status == nil || d.status.Signaled() && d.status.Signal() == syscall.SIGKILL) {
		d.cause = "memory"
	}
}
