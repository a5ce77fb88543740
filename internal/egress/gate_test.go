package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
)

// bareDoor is a door without a desk: for its effects alone.
func bareDoor(t *testing.T, g Grants, cfg Config) *Door {
	t.Helper()
	rules, err := NewRules(g)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Rules = rules
	road, _ := gatetest.AllowAll()
	d, err := New(road, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestConnectKeepsTheContractOfEffects(t *testing.T) {
	d := bareDoor(t, Grants{Rules: []Rule{{Host: public}}}, Config{})
	server, dialled := echoServer(t), false
	d.dials.dial = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
		dialled = true
		return net.Dial("tcp", server)
	}
	a := d.connection(public, 443)
	gatetest.Contract(t, gatetest.Effect{Name: "connect", Action: a, Happened: func() bool { return dialled },
		Call: func(ctx context.Context, g gate.Grant) error {
			c, _, err := d.connect(ctx, g, a)
			if err == nil {
				c.Close()
			}
			return err
		}})
}

func TestSendingAKeyKeepsTheContractOfEffects(t *testing.T) {
	var reached atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer srv.Close()
	d := bareDoor(t, Grants{Model: srv.URL}, Config{Key: func(context.Context, gate.Grant, carrel.Action, bool) (string, error) { return realKey, nil }})
	a := d.model.action(carrel.OpCredential)
	gatetest.Contract(t, gatetest.Effect{Name: "send", Action: a, Happened: func() bool { return reached.Load() > 0 },
		Call: func(ctx context.Context, g gate.Grant) error {
			r, err := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
			if err != nil {
				return err
			}
			resp, err := d.model.send(r, g, a)
			if err == nil {
				resp.Body.Close()
			}
			return err
		}})
}

// What cannot be recorded does not happen.
func TestNothingLeavesUnrecorded(t *testing.T) {
	d := newDesk(t, setup{
		record: func(r carrel.Record) error {
			if r.Kind == carrel.KindIntent && r.Action.Operation == carrel.OpConnect {
				return errors.New("disk full")
			}
			return nil
		},
		grants:    Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{5432}, Protocol: carrel.ProtoTCP}}},
		addresses: map[string][]string{"ok.test": {public}},
		dial:      map[string]string{public + ":5432": echoServer(t)},
	})
	if got, err := d.exchange("ok.test", "5432", "canary"); err == nil {
		t.Errorf("answered %q", got)
	}
	if n := len(d.dialledTo()); n != 0 {
		t.Errorf("dialled %d times", n)
	}
}

// An ask that nobody answers is a refusal, at once and in words.
func TestUnansweredAsksAreRefused(t *testing.T) {
	d := newDesk(t, setup{
		grants: Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{80}}}},
		decide: func(a carrel.Action) carrel.Decision {
			if a.Operation == carrel.OpConnect {
				return carrel.Decision{Verdict: carrel.Ask, Rules: []string{"org/ask"}, Reason: "somebody must say yes", NextSteps: []string{"carrel approve"}}
			}
			return carrel.Decision{Verdict: carrel.Allow}
		},
	})
	if body, status := get(t, d.client(), "http://ok.test/"); status != http.StatusForbidden || !strings.Contains(body, "somebody must say yes") {
		t.Errorf("%d %s", status, body)
	}
}

func TestNamesKeepTheirAddresses(t *testing.T) {
	now := time.Unix(0, 0)
	n := newNames()
	n.max, n.now = 3, func() time.Time { return now }
	var got []netip.Addr
	for _, name := range []string{"a", "b", "c", "a"} {
		addr, err := n.address(name)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, addr)
	}
	if got[0] != got[3] || got[0] == got[1] || got[1] == got[2] {
		t.Errorf("%v", got)
	}
	if _, err := n.address("d"); !errors.Is(err, errNoAddress) {
		t.Errorf("an address in use was given away: %v", err)
	}
	name, release := n.hold(got[1]) // a connection to b
	if name != "b" {
		t.Errorf("held %q", name)
	}
	now = now.Add(2 * minAge)
	n.address("a")
	if addr, err := n.address("d"); err != nil || addr != got[2] {
		t.Errorf("d has %v, %v; want the address of c, which is idle", addr, err)
	}
	if n.name(got[2]) != "d" || n.name(got[1]) != "b" {
		t.Errorf("%s is %q, %s is %q", got[2], n.name(got[2]), got[1], n.name(got[1]))
	}
	if _, err := n.address("e"); !errors.Is(err, errNoAddress) {
		t.Errorf("b has a connection and a, d are young: %v", err)
	}
	release()
	now = now.Add(2 * minAge)
	if _, err := n.address("e"); err != nil {
		t.Error(err)
	}
	if name, _ := n.hold(netip.MustParseAddr("198.19.1.1")); name != "" {
		t.Errorf("an address that was never given is %q", name)
	}
}

// A program that asks before every connection is answered from what was
// decided, for as long as that stands.
func TestRepeatedQuestionsAreDecidedOnce(t *testing.T) {
	d := newDesk(t, setup{grants: Grants{Rules: []Rule{{Host: "ok.test"}}}})
	decided := func() (n int) {
		for _, r := range d.log.Records() {
			if r.Kind == carrel.KindIntent && r.Action.Operation == carrel.OpResolve {
				n++
			}
		}
		return n
	}
	ask := func() {
		t.Helper()
		if _, err := d.lookup("ok.test"); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		ask()
	}
	if n := decided(); n != 1 || d.door.Counts()["names_repeated"] < 4 {
		t.Errorf("decided %d times, counted %v", n, d.door.Counts())
	}
	d.door.names.forget() // as a change of the rules does
	ask()
	if n := decided(); n != 2 {
		t.Errorf("decided %d times after the answer fell", n)
	}
	d.door.names.mu.Lock()
	d.door.names.now = func() time.Time { return time.Now().Add(answerTTL * time.Second) }
	d.door.names.mu.Unlock()
	ask()
	if n := decided(); n != 3 {
		t.Errorf("decided %d times after the answer's time", n)
	}
}

// 185: many names and many connections at once stay apart.
func TestManyAtOnce(t *testing.T) {
	d := newDesk(t, setup{
		grants:    Grants{Rules: []Rule{{Host: "*.ok.test", Ports: []int{5432}, Protocol: carrel.ProtoTCP}}},
		addresses: map[string][]string{"a.ok.test": {public}, "b.ok.test": {"93.184.216.35"}},
		dial:      map[string]string{public + ":5432": echoServer(t), "93.184.216.35:5432": echoServer(t)},
	})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			host := []string{"a", "b"}[i%2] + ".ok.test"
			if got, err := d.exchange(host, "5432", fmt.Sprint(i)); got != fmt.Sprint(i) {
				t.Errorf("%s: %q, %v", host, got, err)
			}
		})
	}
	wg.Wait()
	eventually(t, "100 results", func() bool {
		n := 0
		for _, r := range d.log.Records() {
			if r.Kind == carrel.KindResult && r.Outcome.Counts["bytes_in"] > 0 {
				n++
			}
		}
		return n == 100
	})
	to := map[string]int{}
	for _, a := range d.dialledTo() {
		to[a.String()]++
	}
	if to[public+":5432"] != 50 || to["93.184.216.35:5432"] != 50 {
		t.Errorf("dialled %v", to)
	}
}

// A half-closed connection still carries the other half.
func TestHalfCloseIsPassedOn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 64)
		n := 0
		for {
			m, err := c.Read(buf[n:])
			if n += m; err != nil {
				break
			}
		}
		fmt.Fprintf(c, "got %d\n", n)
	}()
	d := newDesk(t, setup{
		grants:    Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{5432}, Protocol: carrel.ProtoTCP}}},
		addresses: map[string][]string{"ok.test": {public}},
		dial:      map[string]string{public + ":5432": l.Addr().String()},
	})
	c := d.connect("ok.test", "5432")
	c.Write([]byte("12345"))
	c.(*net.TCPConn).CloseWrite()
	buf := make([]byte, 16)
	if n, err := c.Read(buf); string(buf[:n]) != "got 5\n" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}
