package native

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

// defaultGrace is the time a program has to end after SIGTERM.
const defaultGrace = 10 * time.Second

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
	d.watch.lookLast()
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
