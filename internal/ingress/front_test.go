//go:build linux

package ingress

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
)

// here opens sockets in this process's own network, which stands for a desk's.
func here(family int) (*os.File, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "socket"), nil
}

// freePort returns a port that nothing listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// echo answers every connection with what it said, in its own time.
func echo(t *testing.T, address string) int {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func show(t *testing.T, inside int) (f *Front, at string, log *gatetest.Log) {
	t.Helper()
	g, log := gatetest.AllowAll()
	p := Port{freePort(t), inside}
	f = New(g, Config{Ports: []Port{p}})
	if err := f.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := f.Attach(here); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f, fmt.Sprintf("127.0.0.1:%d", p.Host), log
}

// What a change of the rules no longer allows is closed at once, with what is
// under way; the rest goes on.
func TestAttackPortStaysShownWhenRulesForbidIt(t *testing.T) {
	inside := echo(t, "127.0.0.1:0")
	gone, stays := Port{freePort(t), inside}, Port{freePort(t), inside}
	var forbidden atomic.Bool
	log := &gatetest.Log{}
	g := gate.New(gatetest.Decide(func(a carrel.Action) carrel.Decision {
		if forbidden.Load() && a.Port == gone.Host {
			return carrel.Decision{Verdict: carrel.Deny, Reason: "not any more"}
		}
		return carrel.Decision{Verdict: carrel.Allow}
	}), gatetest.Nobody{}, log)
	f := New(g, Config{Ports: []Port{gone, stays}})
	if err := errors.Join(f.Open(context.Background()), f.Attach(here)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	under, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", gone.Host))
	if err != nil {
		t.Fatal(err)
	}
	defer under.Close()
	_ = under.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := under.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := under.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if closed := f.Judge(context.Background()); len(closed) != 0 {
		t.Errorf("closed %v, which is allowed", closed)
	}
	forbidden.Store(true)
	if closed := f.Judge(context.Background()); len(closed) != 1 || closed[0] != gone {
		t.Errorf("closed %v, want %v", closed, gone)
	}
	if _, err := under.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection under way: %v", err)
	}
	for deadline := time.Now().Add(time.Second); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", gone.Host))
		if err != nil {
			break
		}
		c.Close()
		if time.Now().After(deadline) {
			t.Fatal("the port is still open after a second")
		}
	}
	if got, err := ask(fmt.Sprintf("127.0.0.1:%d", stays.Host), []byte("still")); err != nil || string(got) != "still" {
		t.Errorf("the other port: %q, %v", got, err)
	}
	f.Close()
	withdrawn := 0
	for _, r := range log.Records() {
		if r.Outcome != nil && strings.Contains(string(r.Outcome.Error), "not any more") && r.Outcome.Status == carrel.OutcomeFailed {
			withdrawn++
		}
	}
	if withdrawn != 1 {
		t.Errorf("%d results say that a port was withdrawn", withdrawn)
	}
}

// Whoever listens on the port in one of the two loopbacks would be taken for
// the desk's server by browsers that try that one first.
func TestAttackOtherListenerOnIPv6OfThePort(t *testing.T) {
	taken, err := net.Listen("tcp6", "[::1]:0")
	if err != nil && !noIPv6(err) {
		t.Fatal(err)
	} else if err != nil {
		return // nobody can listen there
	}
	p := taken.Addr().(*net.TCPAddr).Port
	g, _ := gatetest.AllowAll()
	f := New(g, Config{Ports: []Port{{p, 80}}})
	err = f.Open(t.Context())
	f.Close()
	if err == nil || !strings.Contains(err.Error(), "choose another port") {
		t.Errorf("shown beside another program: %v", err)
	}
	taken.Close()
	f = New(g, Config{Ports: []Port{{p, 80}}})
	defer f.Close()
	if err := f.Open(t.Context()); err != nil {
		t.Errorf("a free port: %v", err)
	}
}

// failing fails to accept once, as where descriptors have run out.
type failing struct {
	net.Listener
	once sync.Once
}

func (l *failing) Accept() (c net.Conn, err error) {
	l.once.Do(func() { err = &net.OpError{Op: "accept", Err: unix.EMFILE} })
	if err != nil {
		return nil, err
	}
	return l.Listener.Accept()
}

// A port that could not take one connection takes the next.
func TestPortSurvivesAFailedAccept(t *testing.T) {
	f, _, _ := show(t, echo(t, "127.0.0.1:0"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{front: f, ctx: t.Context(), port: f.cfg.Ports[0].Inside}
	go s.serve(&failing{Listener: l})
	defer l.Close()
	if got, err := ask(l.Addr().String(), []byte("next")); err != nil || string(got) != "next" {
		t.Errorf("%q, %v", got, err)
	}
}

// ask sends a text, ends its side, and returns the answer.
func ask(at string, text []byte) ([]byte, error) {
	c, err := net.Dial("tcp", at)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		_, _ = c.Write(text)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	return io.ReadAll(c)
}

func TestServerInsideIsReachedMoreOftenThanThereAreSockets(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		f, at, log := show(t, echo(t, address))
		big := make([]byte, 1<<20)
		_, _ = rand.Read(big)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for n := range 3 * perFamily / 8 {
					text := fmt.Appendf(nil, "%d %d", i, n)
					if n == 0 {
						text = big
					}
					if got, err := ask(at, text); err != nil || !bytes.Equal(got, text) {
						t.Errorf("%s, %d/%d: %d bytes of %d, %v", address, i, n, len(got), len(text), err)
						return
					}
				}
			})
		}
		all.Wait()
		f.Close()
		records := log.Records()
		intent, result := records[0], records[len(records)-1]
		if intent.Kind != carrel.KindIntent || intent.Action.Operation != carrel.OpExpose || intent.Action.Host != "127.0.0.1" ||
			result.Outcome.Counts["connections"] != 3*perFamily || result.Outcome.Counts["bytes_in"] < 8<<20 {
			t.Errorf("records: %+v, %+v", intent.Action, result.Outcome)
		}
		if _, err := ask(at, []byte("late")); err == nil {
			t.Error("still shown after Close")
		}
	}
}

func TestMoreAtOnceThanThereAreSocketsWait(t *testing.T) {
	_, at, _ := show(t, echo(t, "127.0.0.1:0"))
	var open []net.Conn
	for range perFamily {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	got := make(chan []byte)
	go func() { b, _ := ask(at, []byte("waits")); got <- b }()
	select {
	case b := <-got:
		t.Fatalf("answered %q beyond the bound", b)
	case <-time.After(200 * time.Millisecond):
	}
	open[0].Close()
	if b := <-got; string(b) != "waits" {
		t.Errorf("then answered %q", b)
	}
}

func TestNothingInsideIsARefusalOutside(t *testing.T) {
	_, at, _ := show(t, freePort(t))
	for range 2 * perFamily { // and costs no socket
		c, err := net.Dial("tcp", at)
		if err != nil {
			continue
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if n, err := c.Read(make([]byte, 1)); err == nil || n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read %d, %v", n, err)
		}
		c.Close()
	}
}

func TestOnlyLoopbackIsOpened(t *testing.T) {
	_, at, _ := show(t, echo(t, "127.0.0.1:0"))
	_, port, _ := net.SplitHostPort(at)
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.IsLoopback() || n.IP.IsLinkLocalUnicast() {
			continue
		}
		if c, err := net.DialTimeout("tcp", net.JoinHostPort(n.IP.String(), port), time.Second); err == nil {
			c.Close()
			t.Errorf("reached on %s", n.IP)
		}
	}
}

func TestShowKeepsTheContractOfEffects(t *testing.T) {
	g, _ := gatetest.AllowAll()
	p := Port{freePort(t), 1}
	f := New(g, Config{Ports: []Port{p}})
	f.stop() // what is shown ends at once
	opened := make(chan error, 9)
	a := f.action(p)
	gatetest.Contract(t, gatetest.Effect{Name: "show", Action: a,
		Call:     func(_ context.Context, g gate.Grant) error { _, err := f.show(g, a, p, opened); return err },
		Happened: func() bool { return len(opened) > 0 },
	})
}

func TestDeniedOrTakenPortsAreErrors(t *testing.T) {
	denied, _ := gatetest.DenyAll()
	if err := New(denied, Config{Ports: []Port{{freePort(t), 1}}}).Open(context.Background()); !errors.Is(err, gate.ErrDenied) {
		t.Errorf("denied: %v", err)
	}
	g, _ := gatetest.AllowAll()
	taken := echo(t, "127.0.0.1:0")
	if err := New(g, Config{Ports: []Port{{taken, 1}}}).Open(context.Background()); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("taken: %v", err)
	}
	for _, bad := range []string{"", "0", "65536", "x", "1:2:3", "0:80", "08", "127.0.0.1:80", ":80", "80:", "-1"} {
		if p, err := Parse(bad); err == nil {
			t.Errorf("%q is %v", bad, p)
		}
	}
	if p, err := Parse("18080:8080"); err != nil || p != (Port{18080, 8080}) {
		t.Errorf("%v, %v", p, err)
	}
}
