//go:build linux

package ingress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// Config says for whom and what is shown.
type Config struct {
	Run   carrel.RunID
	Agent string
	Ports []Port
}

// Front is what the host sees of one desk. Its methods are safe for
// concurrent use; the zero value and nil show nothing.
type Front struct {
	gate *gate.Gate
	cfg  Config

	attached chan struct{} // closed once pool is there
	pool     *pool
	running  sync.WaitGroup
	ctx      context.Context
	stop     context.CancelFunc

	mu    sync.Mutex // guards shown
	shown map[Port]context.CancelCauseFunc
}

// errWithdrawn ends a port that the rules in force no longer allow.
var errWithdrawn = errors.New("the rules do not allow it any more")

// New returns a front that asks g about every port. It opens nothing yet.
func New(g *gate.Gate, cfg Config) *Front {
	f := &Front{gate: g, cfg: cfg, attached: make(chan struct{}), shown: map[Port]context.CancelCauseFunc{}}
	f.ctx, f.stop = context.WithCancel(context.Background())
	return f
}

// Attach takes sockets of the desk's network, before its program starts. It
// may be called once. dial opens one of a family (AF_INET, AF_INET6) there.
func (f *Front) Attach(dial func(family int) (*os.File, error)) (err error) {
	if f == nil || len(f.cfg.Ports) == 0 {
		return nil
	}
	if dial == nil {
		return errors.New("this tier cannot show a desk's servers to the host")
	}
	if f.pool, err = newPool(dial); err != nil {
		return err
	}
	close(f.attached)
	return nil
}

// Open listens on the host, each port an action of its own whose result says
// at the end what went through. It returns when all of them listen, or with
// the first error.
func (f *Front) Open(ctx context.Context) error {
	if f == nil {
		return nil
	}
	for _, p := range f.cfg.Ports {
		opened := make(chan error, 1)
		f.running.Go(func() {
			a := f.action(p)
			_, err := f.gate.Do(ctx, a, func(_ context.Context, g gate.Grant) (carrel.Outcome, error) {
				return f.show(g, a, p, opened)
			})
			if err != nil {
				opened <- err // at most one is read
			}
			close(opened)
		})
		if err := <-opened; err != nil {
			return fmt.Errorf("--expose %d:%d: %w", p.Host, p.Inside, err)
		}
	}
	return nil
}

func (f *Front) action(p Port) carrel.Action {
	return carrel.Action{ID: carrel.NewActionID(), Run: f.cfg.Run, Agent: f.cfg.Agent, Operation: carrel.OpExpose,
		Host: "127.0.0.1", Port: p.Host, Protocol: carrel.ProtoTCP, Subject: "desk:" + strconv.Itoa(p.Inside)}
}

// Judge asks about every port that is shown again, and closes those that are
// not allowed any more, with their connections. A port that was closed stays
// so. It returns what it closed.
func (f *Front) Judge(ctx context.Context) (closed []Port) {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for p, withdraw := range f.shown {
		if d := f.gate.Judge(ctx, f.action(p)); !d.Allows() {
			withdraw(fmt.Errorf("%w: %s", errWithdrawn, d.Reason))
			delete(f.shown, p)
			closed = append(closed, p)
		}
	}
	return closed
}

// Close ends everything that is shown.
func (f *Front) Close() {
	if f == nil {
		return
	}
	f.stop()
	f.running.Wait()
	if f.pool != nil {
		f.pool.close()
	}
}

// show listens for a, which g must cover, until the front is closed.
func (f *Front) show(g gate.Grant, a carrel.Action, p Port, opened chan<- error) (carrel.Outcome, error) {
	if err := g.Covers(a); err != nil {
		return carrel.Outcome{}, err
	}
	listeners, err := listen(p.Host)
	if err != nil {
		return carrel.Outcome{}, err
	}
	ctx, withdraw := context.WithCancelCause(f.ctx)
	defer withdraw(nil)
	f.mu.Lock()
	f.shown[p] = withdraw
	f.mu.Unlock()
	s := &server{front: f, ctx: ctx, port: p.Inside}
	for _, l := range listeners {
		stop := context.AfterFunc(ctx, func() { l.Close() })
		defer stop()
		s.running.Go(func() { s.serve(l) })
	}
	opened <- nil
	s.running.Wait()
	out := carrel.Outcome{Counts: map[string]int64{"connections": s.count.Load(), "bytes_in": s.in.Load(), "bytes_out": s.out.Load()}}
	if cause := context.Cause(ctx); errors.Is(cause, errWithdrawn) {
		return out, cause
	}
	return out, nil
}

// listen opens a port of the host's loopback, and of IPv6's where there is one:
// what browsers call localhost is either.
func listen(port int) ([]net.Listener, error) {
	first, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("%w; choose another port of the host: --expose HOSTPORT:PORT", err)
	}
	second, err := net.Listen("tcp6", net.JoinHostPort("::1", strconv.Itoa(port)))
	switch {
	case err == nil:
		return []net.Listener{first, second}, nil
	case noIPv6(err):
		return []net.Listener{first}, nil
	}
	first.Close()
	return nil, fmt.Errorf("%w; choose another port of the host: --expose HOSTPORT:PORT", err)
}

// noIPv6 reports whether a socket could not be had because the host has no
// IPv6, or no loopback there.
func noIPv6(err error) bool {
	return errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPROTONOSUPPORT)
}

// acceptPause is how long to wait after a connection could not be taken: out
// of descriptors, say.
const acceptPause = 10 * time.Millisecond

// server carries the connections of one port.
type server struct {
	front          *Front
	ctx            context.Context // ends with what is shown
	port           int
	running        sync.WaitGroup
	count, in, out atomic.Int64
}

func (s *server) serve(l net.Listener) {
	select {
	case <-s.front.attached:
	case <-s.ctx.Done():
		return
	}
	slots := make(chan struct{}, perFamily)
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(acceptPause)
			continue
		}
		s.count.Add(1)
		select {
		case slots <- struct{}{}:
		case <-s.ctx.Done():
			c.Close()
			return
		}
		s.running.Go(func() {
			defer func() { <-slots }()
			s.carry(c.(*net.TCPConn))
		})
	}
}

// carry copies both ways until both have ended, or the front is closed.
func (s *server) carry(outside *net.TCPConn) {
	defer outside.Close()
	inside, done, err := s.front.pool.connect(s.ctx, s.port)
	if err != nil {
		_ = outside.SetLinger(0) // a refusal inside is one outside
		return
	}
	defer done()
	stop := context.AfterFunc(s.ctx, func() { outside.Close(); inside.Close() })
	defer stop()
	var back sync.WaitGroup
	back.Go(func() { s.out.Add(pass(outside, inside)) })
	s.in.Add(pass(inside, outside))
	back.Wait()
}

// pass copies until from ends, and then says so to to. When it breaks both
// are ended, so that the other direction does not wait.
func pass(to, from *net.TCPConn) int64 {
	n, err := io.Copy(to, from)
	if err != nil {
		to.Close()
		from.Close()
		return n
	}
	_ = to.CloseWrite() // gone already: nobody to tell
	return n
}
