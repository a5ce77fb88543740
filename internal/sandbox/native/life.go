package native

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

// defaultGrace is the time a program has to end after SIGTERM.
const defaultGrace = 10 * time.Second

// linger is how long PID 1 may live after it said that the program ended: it
// has nothing left to do, and one that stays is not what was started.
const linger = 5 * time.Second

// Desk is one started run.
type Desk struct {
	spec *sandbox.Spec
	id   Identity
	held
	facts
	building
	questions
	display
	ending
}

// held is what the desk holds in this process, until closeAll.
type held struct {
	image     *os.File // PID 1's program; the tier's
	process   *process
	link      *desk.Link
	claim     *os.File    // the lock of the run's directory
	trees     chan handed // of a desk started by root, until they are handed in
	streams   *streams
	diagnosis *diagnosis
	watch     *watch

	executions *executions // nil: nobody asked to hear of them
}

// facts are for Enforcement. They are set before the program starts.
type facts struct {
	imageFrom  string // where PID 1's program came from
	memoryNote string // why memory is watched instead of held, if it is
	cutOff     bool   // the last run with these layers did not end in order
	landlock   int    // version in force
	unasked    string // why nobody is asked about executions, if somebody should be
}

// building is used by the goroutine of start only.
type building struct {
	networked, ready bool
	heard            chan desk.Message
}

// questions are those for more sockets.
type questions struct {
	asking    sync.Mutex // guards closed, and makes one question at a time
	closed    bool
	listening chan desk.Message
}

// display is the desk's terminal, if it has one.
type display struct {
	master  *os.File
	stopped chan struct{}
	relayed chan struct{} // closed when Relay has returned
}

// ending is how the run goes towards its end.
type ending struct {
	life     context.Context
	end      context.CancelFunc // of life
	attended chan struct{}      // closed when everything is over

	mu     sync.Mutex // guards what follows
	cause  string
	status *syscall.WaitStatus
	fault  error
	grace  *time.Timer
}

func newDesk(s *sandbox.Spec, id Identity) *Desk {
	d := &Desk{spec: s, id: id}
	d.heard, d.listening = make(chan desk.Message), make(chan desk.Message, 1)
	d.stopped, d.attended = make(chan struct{}, 1), make(chan struct{})
	d.life, d.end = context.WithCancel(context.Background())
	return d
}

// hear passes messages on until PID 1 is gone or says what is no message.
func (d *Desk) hear() {
	defer close(d.heard)
	for {
		m, err := d.link.Receive()
		if err != nil {
			return
		}
		d.heard <- m
	}
}

// attend follows a desk whose program runs, to the end.
func (d *Desk) attend() {
	defer close(d.attended)
	var late *time.Timer // ends a PID 1 that stays after its program
	for m := range d.heard {
		if err := d.running(m); err != nil {
			desk.CloseAll(m.Files)
			d.blame(err)
			_ = d.Kill()
		}
		if late == nil && d.ended() != nil {
			late = time.AfterFunc(linger, func() { _ = d.Kill() })
		}
	}
	if d.ended() == nil {
		_ = d.process.kill() // the control socket closed before the program ended
	}
	<-d.process.reaped
	if late != nil {
		late.Stop()
	}
	d.finish()
}

// running handles one message of a desk whose program runs: hostile input.
func (d *Desk) running(m desk.Message) error {
	switch {
	case len(m.Files) > 0:
		return errUnexpected
	case m.Kind == desk.Stopped:
		select {
		case d.stopped <- struct{}{}:
		default:
		}
	case m.Kind == desk.Ended && d.ended() == nil:
		status := syscall.WaitStatus(m.Code)
		if !status.Exited() && !status.Signaled() {
			return errUnexpected
		}
		d.mu.Lock()
		d.status = &status
		d.mu.Unlock()
	case m.Kind == desk.Tallied:
		return d.watch.tallied(m.Text)
	default:
		return errUnexpected
	}
	return nil
}

func (d *Desk) ended() *syscall.WaitStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status
}

func (d *Desk) blame(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fault == nil {
		d.fault = err
	}
}

// finish closes everything of a desk that is gone.
func (d *Desk) finish() {
	d.watch.stop()
	d.mu.Lock()
	if d.grace != nil {
		d.grace.Stop()
	}
	d.mu.Unlock()
	d.end()
	if d.executions != nil {
		<-d.executions.done
	}
	if d.streams != nil {
		d.streams.finish(context.Background())
	}
	if _, err := settleLayers(d.spec.Mounts); err != nil {
		d.blame(err)
	}
	d.closeAll()
}

// closeAll releases what the desk holds in this process. Nothing of it runs.
func (d *Desk) closeAll() {
	d.end()
	if d.relayed != nil {
		<-d.relayed
	}
	if d.master != nil {
		d.master.Close()
	}
	if d.streams != nil {
		d.streams.abandon()
	}
	if d.link != nil {
		d.link.Close()
	}
	if d.process != nil {
		d.process.release()
	}
	d.dropTrees()
	if d.claim != nil {
		d.claim.Close()
	}
}

// abort ends a desk whose program did not start, and waits until it is gone.
func (d *Desk) abort() {
	d.watch.stop()
	_ = d.process.kill()
	for m := range d.heard {
		desk.CloseAll(m.Files)
	}
	<-d.process.reaped
	_, _ = settleLayers(d.spec.Mounts) // nothing was written; the next start tries again
	select {
	case m := <-d.listening:
		desk.CloseAll(m.Files)
	default:
	}
	d.closeAll()
}

// Signal implements sandbox.Desk. After SIGTERM, or SIGHUP, everything is
// ended when the time of grace is over.
func (d *Desk) Signal(sig syscall.Signal) error {
	if sig == syscall.SIGTERM || sig == syscall.SIGHUP {
		d.mu.Lock()
		if d.grace == nil {
			d.grace = time.AfterFunc(d.graceTime(), func() { _ = d.Kill() })
		}
		d.mu.Unlock()
	}
	err := d.link.Send(desk.Message{Kind: desk.Pass, Code: int32(sig)})
	if err != nil && d.over() {
		return nil
	}
	return wrap("passing a signal on", err)
}

func (d *Desk) graceTime() time.Duration {
	if d.spec.Grace > 0 {
		return d.spec.Grace
	}
	return defaultGrace
}

func (d *Desk) over() bool {
	select {
	case <-d.process.reaped:
		return true
	default:
		return d.ended() != nil
	}
}

// Kill implements sandbox.Desk.
func (d *Desk) Kill() error {
	select {
	case <-d.process.reaped:
		return nil
	default:
		return wrap("ending the desk", d.process.kill())
	}
}

// Wait implements sandbox.Desk.
func (d *Desk) Wait() (sandbox.Exit, error) {
	<-d.attended
	d.mu.Lock()
	defer d.mu.Unlock()
	exit := sandbox.Exit{Cause: d.cause, PeakMemory: d.watch.peak()}
	switch {
	case d.status == nil:
		exit.Code, exit.Signal = 128+int(syscall.SIGKILL), syscall.SIGKILL
	case d.status.Signaled():
		exit.Code, exit.Signal = 128+int(d.status.Signal()), d.status.Signal()
	default:
		exit.Code = d.status.ExitStatus()
	}
	if errors.Is(d.fault, errUnexpected) && exit.Cause == "" {
		exit.Cause = "supervisor"
	}
	return exit, d.fault
}

// Enforcement implements sandbox.Desk.
func (d *Desk) Enforcement() []carrel.Enforcement { return d.inForce() }
