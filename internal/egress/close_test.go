package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
	"github.com/carrel-dev/carrel/internal/needs"
)

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// 104: when the door has closed, everything it carried has ended and nothing
// new goes through; and nothing of it is left in the supervisor.
func TestCloseEndsEverything(t *testing.T) {
	server := echoServer(t)
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer slow.Close()
	rounds := []*namespace{newNamespace(t), newNamespace(t), newNamespace(t)}
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)
	for _, n := range rounds {
		d := &testDesk{namespace: n, log: &gatetest.Log{}}
		d.open(t, setup{
			grants: Grants{Model: slow.URL, Rules: []Rule{{Host: "ok.test", Ports: []int{5432}, Protocol: carrel.ProtoTCP}, {Host: "ok.test", Ports: []int{80}}, {Host: "tls.test"}}},
			cfg: Config{Key: func(_ context.Context, g gate.Grant, a carrel.Action, _ bool) (string, error) {
				return "k", g.Covers(a)
			}},
			addresses: map[string][]string{"ok.test": {public}, "tls.test": {public}},
			dial:      map[string]string{public + ":5432": server, public + ":80": slow.Listener.Addr().String()},
		})
		stream := d.connect("ok.test", "5432")
		if got, err := say(t, stream, "hello"); got != "hello" {
			t.Fatalf("%q, %v", got, err)
		}
		web, idle := d.connect("ok.test", "80"), d.connect("ok.test", "80")
		web.Write([]byte("GET / HTTP/1.1\r\nHost: ok.test\r\n\r\n"))
		model := d.connect("model.desk", "80")
		model.Write([]byte("GET / HTTP/1.1\r\nHost: model.desk\r\n\r\n"))
		silent := d.connect("tls.test", "443")
		web.Read(make([]byte, 1))
		model.Read(make([]byte, 1))
		start := time.Now()
		if err := d.door.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("closing took %s", took)
		}
		for name, c := range map[string]net.Conn{"tcp": stream, "http": web, "idle http": idle, "model": model, "tls": silent} {
			c.SetDeadline(time.Now().Add(2 * time.Second))
			var timeout net.Error
			buf := make([]byte, 4096)
			_, err := c.Read(buf)
			for err == nil {
				_, err = c.Read(buf)
			}
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("the %s connection outlived the door", name)
			}
			c.Close()
		}
		if got, err := d.exchangeAddr("198.18.0.1:5432", "canary"); err == nil {
			t.Errorf("after Close a connection answered %q", got)
		}
		if _, err := d.lookup("ok.test"); err == nil {
			t.Error("after Close a name resolves")
		}
		d.door.Close() // again
	}
	slow.CloseClientConnections()
	eventually(t, "the end of all goroutines", func() bool { return runtime.NumGoroutine() <= goroutines+4 }) // of the test servers
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "the end of all descriptors", func() bool { return openDescriptors(t) <= descriptors+2 })
}

func TestAttachRefusesWhatItCannotHold(t *testing.T) {
	g, _ := gatetest.AllowAll()
	if _, err := New(nil, Config{}); err == nil {
		t.Error("a door without a gate")
	}
	door, err := New(g, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := door.Attach(context.Background(), Sockets{}); err == nil {
		t.Error("attached to nothing")
	}
	n := newNamespace(t)
	s := n.sockets()
	s.Route, s.Netfilter = s.Netfilter, s.Route // the wrong sockets
	door, _ = New(g, Config{})
	if err := door.Attach(context.Background(), s); err == nil {
		t.Error("attached through the wrong netlink sockets")
	}
	if _, err := s.TCP.Write(nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the handed-over socket is still open: %v", err)
	}
}

// Where netfilter cannot be had, the ports that rules name are captured one
// by one, and it is said that this is less.
func TestWithoutNetfilter(t *testing.T) {
	d := newDesk(t, setup{
		grants:    Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{5432}, Protocol: carrel.ProtoTCP}, {Host: "web.test", Ports: []int{80}}}},
		addresses: map[string][]string{"ok.test": {public}},
		dial:      map[string]string{public + ":5432": echoServer(t)},
		netfilter: func(s *Sockets) { s.Netfilter.Close(); s.Netfilter = nil },
	})
	for _, e := range d.door.Enforcement() {
		if e.Level != carrel.Partly || e.Fix == "" {
			t.Errorf("%+v", e)
		}
	}
	if got, err := d.exchange("ok.test", "5432", "hello"); got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := d.exchangeAddr("10.0.0.1:5432", "canary"); err == nil {
		t.Errorf("an address on a granted port answered %q", got)
	}
	d.wantRefused(carrel.OpConnect, "10.0.0.1", "egress/unnamed")
	if got, err := d.exchangeAddr("127.0.0.1:5432", "canary"); err == nil {
		t.Errorf("loopback answered %q", got)
	}
	all := func(carrel.Action) carrel.Decision { return carrel.Decision{Verdict: carrel.Allow} }
	server := echoServer(t)
	_, port, _ := net.SplitHostPort(server)
	n, _ := strconv.Atoi(port)
	lax := newDesk(t, setup{decide: all, grants: Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{n}, Protocol: carrel.ProtoTCP}}}, netfilter: func(s *Sockets) { s.Netfilter = nil }})
	if got, err := lax.exchangeAddr("127.0.0.1:"+port, "canary"); err == nil {
		t.Errorf("even a policy that allows everything does not lead to the host's loopback, which answered %q", got)
	}
	for network, addr := range map[string]string{"tcp": "1.1.1.1:22", "tcp6": "[2606:4700::1111]:443", "udp": "8.8.8.8:53"} {
		c, err := d.dial(network, addr)
		if err == nil {
			c.SetDeadline(time.Now().Add(2 * time.Second))
			c.Write([]byte("canary"))
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		if err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s %s: %v", network, addr, err)
		}
	}
}

// 103: from the moment Attach has returned, nothing slips through.
func TestNoRaceAtTheStart(t *testing.T) {
	for range 10 {
		d := newDesk(t, setup{})
		for _, addr := range []string{"1.1.1.1:443", "1.1.1.1:80", "10.0.0.1:22"} {
			if c, err := d.dial("tcp", addr); err == nil {
				c.Close()
				t.Errorf("%s: connected", addr)
			}
		}
	}
}

// The host's own proxy carries what was decided, with its password, which the
// desk never sees.
func TestThroughTheHostsProxy(t *testing.T) {
	origin := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("origin")) }))
	defer origin.Close()
	var asked, auth string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, auth = r.Method+" "+r.Host, r.Header.Get("Proxy-Authorization")
		if !strings.HasPrefix(r.Host, "example.com:") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		up, err := net.Dial("tcp", origin.Listener.Addr().String())
		if err != nil {
			panic(err)
		}
		down, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		down.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n"))
		relay(context.Background(), down, up, nil)
		down.Close()
		up.Close()
	}))
	defer proxy.Close()
	direct := echoServer(t)
	d := newDesk(t, setup{
		grants:    Grants{Rules: []Rule{{Host: "example.com"}, {Host: "blocked.test"}, {Host: "near.test", Ports: []int{5432}, Protocol: carrel.ProtoTCP}, {Host: "10.0.0.0/8", Ports: []int{5432}, Protocol: carrel.ProtoTCP}}},
		cfg:       Config{Proxy: strings.Replace(proxy.URL, "://", "://us%40r:p%3Aw@", 1), NoProxy: "near.test"},
		addresses: map[string][]string{"near.test": {public}},
		dial:      map[string]string{public + ":5432": direct},
	})
	client := d.client()
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: origin.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	if body, status := get(t, client, "https://example.com/"); status != 200 || body != "origin" {
		t.Errorf("%d %s", status, body)
	}
	if asked != "CONNECT example.com:443" || auth != "Basic dXNAcjpwOnc=" {
		t.Errorf("the proxy was asked %q with %q", asked, auth)
	}
	if _, err := client.Get("https://blocked.test/"); err == nil {
		t.Error("what the proxy refused went through")
	}
	eventually(t, "a record of what the proxy refused", func() bool {
		return slices.ContainsFunc(d.log.Records(), func(r carrel.Record) bool {
			return r.Outcome != nil && strings.Contains(string(r.Outcome.Error), "refused the connection: 403")
		})
	})
	if got, err := d.exchange("near.test", "5432", "hello"); got != "hello" {
		t.Errorf("an exception: %q, %v", got, err)
	}
	if _, err := New(d.door.gate, Config{Proxy: "proxy.test:3128"}); err != nil {
		t.Error(err)
	}
	if _, err := New(d.door.gate, Config{Proxy: "socks5://secret:secret@x:1"}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a proxy of another kind: %v", err)
	}
}

// The same tests once more without any privilege.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		return
	}
	needs.Long(t)
	if passed := strings.Count(needs.AsUser(t, "."), "--- PASS"); passed < 20 {
		t.Errorf("only %d tests ran", passed)
	}
}
