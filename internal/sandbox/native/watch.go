package native

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

const (
	// watchEvery is how often usage is looked at where the kernel does not
	// hold the limit: often enough that a program allocating a gigabyte a
	// second overshoots by a quarter of one.
	watchEvery = 250 * time.Millisecond
	// diskShare bounds the time spent on walking the run's directories: one
	// part in so many.
	diskShare = 20
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

	mu  sync.Mutex // guards max
	max int64
}

// prepareWatch sets up every limit that was asked for, before the program
// starts. What cannot be held is an error, unless best effort was asked for.
func (d *Desk) prepareWatch() error {
	w := &watch{desk: d, quit: make(chan struct{})}
	d.watch = w
	l := &d.spec.Limits
	if l.Memory > 0 {
		group, err := newCgroup(string(d.spec.Run), d.process.pid, l.Memory)
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
	w.disk = guard
	return nil
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
		w.every(watchEvery, w.memory)
	}
	if w.disk != nil {
		w.every(time.Second, w.space)
	}
}

// timeIsUp asks the program to end, and ends it when its grace is over.
func (w *watch) timeIsUp() {
	w.desk.note("wall")
	if w.desk.Signal(syscall.SIGTERM) != nil {
		_ = w.desk.Kill()
	}
}

// every calls look until the desk ends, never spending more than its share of
// time on it.
func (w *watch) every(pause time.Duration, look func()) {
	w.done.Add(1)
	go func() {
		defer w.done.Done()
		for next := pause; ; {
			select {
			case <-w.quit:
				return
			case <-time.After(next):
			}
			began := time.Now()
			look()
			next = max(pause, diskShare*time.Since(began))
		}
	}()
}

func (w *watch) memory() {
	used, err := memoryInside(w.desk.process.pid, placesInMemory(w.desk.spec.Mounts))
	if err != nil {
		return // it is about to end
	}
	w.mu.Lock()
	w.max = max(w.max, used)
	w.mu.Unlock()
	if used > w.desk.spec.Limits.Memory {
		w.desk.endFor("memory")
	}
}

func (w *watch) space() {
	if w.disk.exceeded() {
		w.desk.endFor("disk")
	}
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
