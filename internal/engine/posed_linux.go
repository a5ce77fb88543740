package engine

import (
	"context"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/approval"
	"github.com/carrel-dev/carrel/internal/gate"
)

// posed are questions for the terminal while a desk owns it: the relay gives
// the terminal back as it does for Ctrl-Z, the question is asked, and the desk
// goes on. Before the agent starts the terminal is free. The zero value is
// ready.
type posed struct {
	mu      sync.Mutex      // guards what follows
	started bool            // the agent: a relay has the terminal, or will in a moment
	relay   context.Context // ends with it, and with the desk
	wake    chan struct{}
	waiting *posedQuestion
	asked   bool // the terminal was given back for a question
}

type posedQuestion struct {
	ctx   context.Context
	q     approval.OpenQuestion
	reply chan approval.Reply // closed without a reply: none was given
}

func (p *posed) channel() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wake == nil {
		p.wake = make(chan struct{}, 1)
	}
	return p.wake
}

// starts says that the agent is about to start. From then on the terminal is the
// relay's: a question that was asked beside it would be answered into the desk.
func (p *posed) starts() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started = true
}

// join returns what tells the relay to give the terminal back: a desk that
// stopped, or a question.
func (p *posed) join(ctx context.Context, stopped <-chan struct{}) <-chan struct{} {
	wake := p.channel()
	p.mu.Lock()
	p.relay = ctx
	p.mu.Unlock()
	go func() { // ends with the relay
		for {
			select {
			case _, ok := <-stopped:
				if !ok {
					return
				}
				select {
				case wake <- struct{}{}:
				default: // it is being given back already
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return wake
}

// ask puts q to the relay, if there is one by now, and waits.
func (p *posed) ask(ctx context.Context, q approval.OpenQuestion) (approval.Reply, error) {
	mine := &posedQuestion{ctx, q, make(chan approval.Reply, 1)}
	wake := p.channel()
	p.mu.Lock()
	started := p.started
	if started {
		p.waiting = mine
	}
	p.mu.Unlock()
	if !started { // whether the agent may start at all
		return askForeground(ctx, q)
	}
	select {
	case wake <- struct{}{}:
	default:
	}
	select {
	case r, ok := <-mine.reply:
		if !ok {
			return r, gate.ErrPending
		}
		return r, nil
	case <-ctx.Done():
		return approval.Reply{}, ctx.Err()
	}
}

// stop is called by the relay once the terminal is given back.
func (p *posed) stop() error {
	p.mu.Lock()
	mine, relay := p.waiting, p.relay
	p.waiting, p.asked = nil, mine != nil
	p.mu.Unlock()
	if mine == nil {
		return unix.Kill(0, syscall.SIGTSTP)
	}
	defer close(mine.reply)
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil // it can be answered from elsewhere
	}
	defer tty.Close()
	ctx, cancel := until(mine.ctx, relay)
	defer cancel()
	if r, err := askAt(ctx, tty, mine.q); err == nil {
		mine.reply <- r
	}
	return nil
}

// resume is how the desk goes on once the relay has the terminal again. After
// a question it never stood still and may be gone; it is told all the same, so
// that programs draw their screens anew.
func (p *posed) resume(desk func() error) func() error {
	return func() error {
		err := desk()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.asked {
			return nil
		}
		return err
	}
}
