package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/approval"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// holdName is how long a question about a name waits: a resolver asks again,
// and an answer that came meanwhile counts then.
const holdName = 4 * time.Second

// errBrokenOff ends a question at the terminal whose run ends.
var errBrokenOff = errors.New("the run ends, and the question with it")

// until is ctx that ends with the run as well: nobody is to sit before a
// question that an interrupt was the answer to, or that no agent waits for.
func until(ctx, run context.Context) (context.Context, context.CancelFunc) {
	both, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(run, func() { cancel(errBrokenOff) })
	return both, func() { stop(); cancel(nil) }
}

// live says how a run's asks are put to people, until the run ends.
func (v *visit) live(run context.Context) *approval.Live {
	hold := v.opts.AskTimeout
	if hold <= 0 {
		hold = defaultHold
	}
	l := &approval.Live{
		Hold: func(a carrel.Action) time.Duration {
			switch a.Operation {
			case carrel.OpPublish, carrel.OpApprove, carrel.OpDeny, carrel.OpFreeze, carrel.OpRevoke, carrel.OpPolicy:
				return -1
			case carrel.OpResolve:
				return min(hold, holdName)
			}
			return hold
		},
		Opened: v.questionOpened,
	}
	switch {
	case v.interactive():
		l.Ask = func(ctx context.Context, q approval.OpenQuestion) (approval.Reply, error) {
			ctx, cancel := until(ctx, run)
			defer cancel()
			return v.posed.ask(ctx, q)
		}
	default:
		if tty := foreground(); tty != nil {
			tty.Close()
			l.Ask = askForeground
		}
	}
	return l
}

// questionOpened tells the agent, and the person where the terminal is free.
func (v *visit) questionOpened(q approval.OpenQuestion) {
	line := fmt.Sprintf("waiting for a person: %s: %s (%s)", describeAction(q.Action), terminal.Escape(q.Decision.Reason), terminal.Escape(firstRule(q.Decision)))
	v.denials.tell(line)
	if !v.interactive() {
		fmt.Fprintf(v.e.host.Stderr, "carrel: %s\n  next: carrel approve %s, or carrel deny %s, by %s (carrel pending --watch asks)\n",
			line, q.Action.ID, q.Action.ID, q.Until.Local().Format(time.TimeOnly))
	}
}

func replyOf(t typed) (approval.Reply, error) {
	if t.word == "" {
		return approval.Reply{}, gate.ErrPending
	}
	return approval.Reply{Granted: t.granted(), Reason: "at the terminal", Keep: t.remember() != RememberAction}, nil
}

// foreground opens the terminal if this process may use it now; nil if there
// is none or another job has it.
func foreground() *os.File {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil
	}
	group := -1
	onTerminal(tty, func(fd int) { group, _ = unix.IoctlGetInt(fd, unix.TIOCGPGRP) })
	if group != unix.Getpgrp() {
		tty.Close()
		return nil
	}
	return tty
}

// onTerminal leaves the file as it is: Fd would make it blocking, and a read
// that outlives its question would take what is typed for the agent.
func onTerminal(tty *os.File, f func(fd int)) {
	if conn, err := tty.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// discardTyped throws away what nobody has read, an unfinished line included.
func discardTyped(tty *os.File) {
	onTerminal(tty, func(fd int) { _ = unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) })
}

// askForeground asks at a terminal that the desk does not use.
func askForeground(ctx context.Context, q approval.OpenQuestion) (approval.Reply, error) {
	tty := foreground()
	if tty == nil {
		return approval.Reply{}, gate.ErrPending
	}
	defer tty.Close()
	return askAt(ctx, tty, q)
}

// askAt asks at a terminal. What was typed before the question is not an
// answer to it.
func askAt(ctx context.Context, tty *os.File, q approval.OpenQuestion) (approval.Reply, error) {
	discardTyped(tty)
	fmt.Fprintf(tty, "\ncarrel: the agent waits for you:\n  %s\n", questionLine(q))
	t, err := askOn(ctx, tty, tty, q)
	switch {
	case err == nil:
		return replyOf(t)
	case errors.Is(context.Cause(ctx), errBrokenOff):
		fmt.Fprintln(tty, "\ncarrel: the run ends, and the question with it")
	case ctx.Err() != nil:
		fmt.Fprintln(tty, "\ncarrel: answered elsewhere, or too late")
	default: // the end of the input, as by Ctrl-D: no answer, and somebody may give one
		fmt.Fprintln(tty)
		leftOpen(tty, q)
	}
	return approval.Reply{}, err
}
