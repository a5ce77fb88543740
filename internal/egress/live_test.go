package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// 136: what is no longer allowed ends within a second of the change.
func TestAttackGoingOnAfterTheRulesChanged(t *testing.T) {
	o := newOrigin(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	})
	wide, err := NewRules(Grants{Rules: []Rule{{Host: "example.com", Methods: []string{"GET", "POST"}}, {Host: "other.example.com"}}})
	if err != nil {
		t.Fatal(err)
	}
	narrow, _ := NewRules(Grants{Rules: []Rule{{Host: "example.com", Methods: []string{"POST"}}}})
	var now atomic.Pointer[Rules]
	now.Store(wide)
	d := inspectedDesk(t, o, setup{grants: Grants{Rules: []Rule{{Host: "example.com", Methods: []string{"GET", "POST"}}, {Host: "other.example.com"}}},
		decide: func(a carrel.Action) carrel.Decision { return now.Load().Decide(a) }})
	c := d.trusting(false)
	stream, err := c.Get("https://example.com/")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	unread := tls.Client(d.connect("other.example.com", "443"), passedThrough(o, "other.example.com"))
	if err := unread.Handshake(); err != nil {
		t.Fatal(err)
	}
	now.Store(narrow)
	start := time.Now()
	d.door.Replace(narrow)
	if _, err := stream.Body.Read(make([]byte, 1)); err == nil || time.Since(start) > time.Second {
		t.Errorf("the stream: %v after %v", err, time.Since(start))
	}
	if _, err := unread.Read(make([]byte, 1)); err == nil || time.Since(start) > time.Second {
		t.Errorf("the tunnel: %v after %v", err, time.Since(start))
	}
	d.wantBreach("egress/withdrawn")
	d.wantRefused(carrel.OpConnect, "other.example.com", "egress/unnamed")
	if _, err := d.lookup("other.example.com"); err == nil {
		t.Error("its name is still known")
	}
	if _, resp := do(t, c, "POST", "https://example.com/", nil); resp.StatusCode != 200 {
		t.Errorf("what is still allowed: %s", resp.Status)
	}
}

// ruled is a desk whose grants change together with what the gate decides by.
type ruled struct {
	*testDesk
	now atomic.Pointer[Rules]
}

func newRuled(t *testing.T, o *origin, s setup) *ruled {
	t.Helper()
	d := &ruled{}
	first, err := NewRules(s.grants)
	if err != nil {
		t.Fatal(err)
	}
	d.now.Store(first)
	s.decide = func(a carrel.Action) carrel.Decision { return d.now.Load().Decide(a) }
	d.testDesk = inspectedDesk(t, o, s)
	return d
}

// change puts other grants in force.
func (d *ruled) change(g Grants) {
	d.t.Helper()
	rules, err := NewRules(g)
	if err != nil {
		d.t.Fatal(err)
	}
	d.now.Store(rules)
	d.door.Replace(rules)
}

// goesOn reports whether something can still be said over c and is answered.
func goesOn(t testing.TB, c net.Conn) bool {
	t.Helper()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
	if err == nil {
		_, err = c.Read(make([]byte, 4096))
	}
	return err == nil
}

// passedThrough takes the origin's own certificate and no other: not one that
// the door made.
func passedThrough(o *origin, name string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(o.Certificate())
	return &tls.Config{RootCAs: roots, ServerName: name}
}

// tunnel is a TLS connection that the door passes through unread.
func (d *ruled) tunnel(o *origin) net.Conn {
	d.t.Helper()
	c := tls.Client(d.connect("example.com", "443"), passedThrough(o, "example.com"))
	if !goesOn(d.t, c) {
		d.t.Fatal("the tunnel does not work")
	}
	return c
}

// 136: a tunnel ends if a new rule wants to read what it carries, or leads
// its name elsewhere; one that a new rule merely spells otherwise goes on.
func TestAttackTunnelThatTheNewRulesCarryOtherwise(t *testing.T) {
	o := newOrigin(t, false, nil)
	for name, c := range map[string]struct {
		after  Grants
		goesOn bool
	}{
		"the same":          {Grants{Rules: []Rule{{Host: "example.com"}}}, true},
		"a wider one":       {Grants{Rules: []Rule{{Host: "*.example.com"}, {Host: "example.com", Ports: []int{80, 443}}}}, true},
		"its address named": {Grants{Rules: []Rule{{Host: "example.com", Addresses: []string{public}}}}, true},
		"another address":   {Grants{Rules: []Rule{{Host: "example.com", Addresses: []string{"93.184.216.35"}}}}, false},
		"by request":        {Grants{Rules: []Rule{{Host: "example.com", Methods: []string{"GET"}}}}, false},
		"another protocol":  {Grants{Rules: []Rule{{Host: "example.com", Protocol: carrel.ProtoTCP, Ports: []int{443}}}}, false},
		"another port":      {Grants{Rules: []Rule{{Host: "example.com", Ports: []int{444}}}}, false},
		"nothing":           {Grants{}, false},
	} {
		d := newRuled(t, o, setup{grants: Grants{Rules: []Rule{{Host: "example.com"}}}})
		c0 := d.tunnel(o)
		d.change(c.after)
		if c.goesOn {
			if !goesOn(t, c0) {
				t.Errorf("%s: it ended", name)
			}
			continue
		}
		eventually(t, name+": its end", func() bool { return !goesOn(t, c0) })
		d.wantBreach("egress/withdrawn")
	}
}

// 136: a connection that was decided before the change and begins after it
// does not slip through between the two.
func TestAttackConnectionAcrossTheChange(t *testing.T) {
	o := newOrigin(t, false, nil)
	begun, goOn := make(chan struct{}), make(chan struct{})
	held := func(r carrel.Record) error {
		if r.Kind == carrel.KindIntent && r.Action.Operation == carrel.OpConnect {
			close(begun)
			<-goOn
		}
		return nil
	}
	d := newRuled(t, o, setup{grants: Grants{Rules: []Rule{{Host: "example.com"}}}, record: held})
	c := tls.Client(d.connect("example.com", "443"), passedThrough(o, "example.com"))
	<-begun // decided, and not yet recorded
	d.change(Grants{})
	close(goOn)
	if goesOn(t, c) {
		t.Error("it went through")
	}
	d.wantBreach("egress/withdrawn")
	if n := len(o.asked()); n != 0 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// 136: of an answer that the model endpoint streams, nothing comes any more
// once the use of its key is denied; while it is allowed, it goes on.
func TestAttackModelStreamAfterTheRulesChanged(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			io.WriteString(w, "data: x\n\n")
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	}))
	defer srv.Close()
	defer srv.CloseClientConnections()
	var shut atomic.Bool
	rules, _ := NewRules(Grants{Model: srv.URL})
	d := newDesk(t, setup{grants: Grants{Model: srv.URL},
		cfg: Config{Key: func(_ context.Context, g gate.Grant, a carrel.Action, _ bool) (string, error) {
			return "k", g.Covers(a)
		}},
		decide: func(a carrel.Action) carrel.Decision {
			if a.Operation == carrel.OpCredential && shut.Load() {
				return deny("policy/no-model", "no more")
			}
			return rules.Decide(a)
		}})
	resp, err := d.client().Get("http://model.desk/v1/messages")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	d.door.Replace(rules)
	if _, err := io.CopyN(io.Discard, resp.Body, 100); err != nil {
		t.Fatalf("still allowed: %v", err)
	}
	shut.Store(true)
	d.door.Replace(rules)
	start := time.Now()
	if _, err := io.Copy(io.Discard, resp.Body); err == nil || time.Since(start) > time.Second {
		t.Errorf("the stream ended with %v after %v", err, time.Since(start))
	}
	d.wantRefused(carrel.OpCredential, "127.0.0.1", "policy/no-model")
}

// A tunnel that has sent what a lower bound allows sends nothing more.
func TestUploadBoundThatIsLoweredCounts(t *testing.T) {
	o := newOrigin(t, false, nil)
	d := newRuled(t, o, setup{grants: Grants{Rules: []Rule{{Host: "example.com", Upload: 1 << 20}}}})
	c := d.tunnel(o)
	d.change(Grants{Rules: []Rule{{Host: "example.com", Upload: 1 << 19}}})
	if !goesOn(t, c) {
		t.Error("below the bound it ended")
	}
	d.change(Grants{Rules: []Rule{{Host: "example.com", Upload: 10}}})
	if goesOn(t, c) {
		t.Error("above the bound it went on")
	}
	d.wantBreach("egress/upload")
}

// The run's authority was made for what its first rules inspect. What later
// ones inspect is refused, with the reason, never passed through.
func TestHostThatOnlyLaterRulesInspect(t *testing.T) {
	o := newOrigin(t, false, nil)
	d := newRuled(t, o, setup{grants: Grants{Rules: []Rule{{Host: "example.com", Methods: []string{"GET"}}, {Host: "other.example.com"}}}})
	d.change(Grants{Rules: []Rule{{Host: "example.com", Methods: []string{"GET"}}, {Host: "evil.test", Methods: []string{"GET"}}}})
	if _, err := d.trusting(false).Get("https://evil.test/"); err == nil {
		t.Error("it was read all the same")
	}
	d.wantBreach("egress/inspection")
	if b := d.lastBreach(); !strings.Contains(b.Reason, "evil.test") {
		t.Errorf("%+v", b)
	}
	if _, resp := do(t, d.trusting(false), "GET", "https://example.com/", nil); resp.StatusCode != 200 {
		t.Errorf("what it is good for: %s", resp.Status)
	}
}

// A port that was shut when the desk began stays shut; what is refused there
// although it is allowed by now is on record, as what did not come off.
func TestConnectionToALaterPortIsRecorded(t *testing.T) {
	wide, err := NewRules(Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{443}}, {Host: public, Ports: []int{5432}, Protocol: carrel.ProtoTCP}}})
	if err != nil {
		t.Fatal(err)
	}
	var now atomic.Pointer[Rules]
	narrow := Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{443}}}}
	first, _ := NewRules(narrow)
	now.Store(first)
	d := newDesk(t, setup{grants: narrow, decide: func(a carrel.Action) carrel.Decision { return now.Load().Decide(a) }})
	now.Store(wide)
	d.door.Replace(wide)
	if _, err := d.exchangeAddr(public+":5432", "canary"); err == nil {
		t.Error("connected")
	}
	d.wantBreach("egress/port")
}

// A rule can name an IPv6 address, and no desk gets there: a new run, or
// another rule for the address, would not help.
func TestConnectionOverIPv6SaysWhatHelps(t *testing.T) {
	d := newDesk(t, setup{grants: Grants{Rules: []Rule{{Host: "2606:4700::1111", Ports: []int{443}}}}})
	if c, err := d.dial("tcp6", "[2606:4700::1111]:443"); err == nil {
		c.Close()
		t.Error("connected")
	}
	d.wantBreach("egress/ipv6")
	if b := d.lastBreach(); len(b.Next) != 1 || !strings.Contains(b.Next[0], "by the host's name") {
		t.Errorf("%+v", b)
	}
}

// An allowed port on which nobody listens is on record in the same way.
func TestConnectionToNobodyIsRecorded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens there any more
	d := newDesk(t, setup{
		grants:    Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{80}}, {Host: "ok.test", Ports: []int{5432}, Protocol: carrel.ProtoTCP}}},
		addresses: map[string][]string{"ok.test": {public}},
		dial:      map[string]string{public + ":5432": l.Addr().String(), public + ":80": l.Addr().String()},
	})
	if _, err := d.exchange("ok.test", "5432", "canary"); err == nil {
		t.Error("connected")
	}
	get(t, d.client(), "http://ok.test/")
	d.wantFailed(carrel.OpConnect)
	d.wantFailed(carrel.OpRequest)
}

// wantFailed waits for the record of an action of this kind that did not come
// off.
func (d *testDesk) wantFailed(op carrel.Operation) {
	d.t.Helper()
	eventually(d.t, "a failed "+string(op), func() bool {
		allowed := map[carrel.Digest]carrel.Operation{}
		for _, r := range d.log.Records() {
			switch {
			case r.Kind == carrel.KindIntent:
				allowed[r.ActionDigest] = r.Action.Operation
			case r.Kind == carrel.KindResult && r.Outcome.Status == carrel.OutcomeFailed && allowed[r.ActionDigest] == op:
				return true
			}
		}
		return false
	})
}
