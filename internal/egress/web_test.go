package egress

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
)

// webDesk is a desk that may speak http to ok.test, which is srv.
func webDesk(t *testing.T, srv *httptest.Server, decide func(carrel.Action) carrel.Decision) *testDesk {
	return newDesk(t, setup{
		grants:    Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{80}}, {Host: "other.test", Ports: []int{80}}}},
		addresses: map[string][]string{"ok.test": {public}, "other.test": {public}},
		dial:      map[string]string{public + ":80": srv.Listener.Addr().String()},
		decide:    decide,
	})
}

// 118, 119, 121, 122, 124: what a plain HTTP connection may not carry. Each is
// sent on a fresh connection to ok.test.
func TestRequestsForAnythingElseAreRefused(t *testing.T) {
	var reached atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reached.Add(1) }))
	defer srv.Close()
	d := webDesk(t, srv, nil)
	for name, raw := range map[string]string{
		"another host":         "GET /x HTTP/1.1\r\nHost: evil.test\r\n\r\n",
		"another allowed host": "GET /x HTTP/1.1\r\nHost: other.test\r\n\r\n",
		"another port":         "GET /x HTTP/1.1\r\nHost: ok.test:8080\r\n\r\n",
		"no host":              "GET /x HTTP/1.1\r\nHost:\r\n\r\n",
		"two hosts":            "GET /x HTTP/1.1\r\nHost: ok.test\r\nHost: evil.test\r\n\r\n",
		"a list of hosts":      "GET /x HTTP/1.1\r\nHost: ok.test, evil.test\r\n\r\n",
		"a folded host":        "GET /x HTTP/1.1\r\nHost: ok.test\r\n evil.test\r\n\r\n",
		"user in host":         "GET /x HTTP/1.1\r\nHost: ok.test@evil.test\r\n\r\n",
		"absolute form":        "GET http://evil.test/x HTTP/1.1\r\nHost: ok.test\r\n\r\n",
		"absolute with user":   "GET http://u:p@ok.test/x HTTP/1.1\r\nHost: u:p@ok.test\r\n\r\n",
		"absolute, no host":    "GET http:/x HTTP/1.1\r\nHost: ok.test\r\n\r\n",
		"absolute https":       "GET https://ok.test/x HTTP/1.1\r\nHost: ok.test\r\n\r\n",
		"CONNECT":              "CONNECT ok.test:80 HTTP/1.1\r\nHost: ok.test:80\r\n\r\n",
		"CONNECT elsewhere":    "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n",
		"h2c upgrade":          "GET /x HTTP/1.1\r\nHost: ok.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
		"websocket":            "GET /x HTTP/1.1\r\nHost: ok.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
		"h2 preface":           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"two lengths":          "POST /x HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"unknown coding":       "POST /x HTTP/1.1\r\nHost: ok.test\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
		"space before colon":   "GET /x HTTP/1.1\r\nHost : ok.test\r\n\r\n",
		"HTTP/0.9":             "GET /x\r\n\r\n",
		"garbage":              "\x16\x03\x01 canary\r\n\r\n",
	} {
		answer := firstLine(t, d, raw)
		if answer != "" && !strings.HasPrefix(answer, "HTTP/1.1 4") && !strings.HasPrefix(answer, "HTTP/1.1 5") {
			t.Errorf("%s: %q", name, answer)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d of them reached the server", n)
	}
	for name, raw := range map[string]string{
		"plain": "GET /x HTTP/1.1\r\nHost: ok.test\r\n\r\n", "with port": "GET /x HTTP/1.1\r\nHost: OK.test:80\r\n\r\n",
		"absolute": "GET http://ok.test/x HTTP/1.1\r\nHost: ok.test\r\n\r\n", "HTTP/1.0": "GET /x HTTP/1.0\r\nHost: ok.test\r\n\r\n",
	} {
		if answer := firstLine(t, d, raw); !strings.HasPrefix(answer, "HTTP/1.1 200") && !strings.HasPrefix(answer, "HTTP/1.0 200") {
			t.Errorf("%s: %q", name, answer)
		}
	}
}

// firstLine sends bytes on a fresh connection and returns the first line.
func firstLine(t *testing.T, d *testDesk, raw string) string {
	t.Helper()
	c := d.connect("ok.test", "80")
	io.WriteString(c, raw)
	c.SetDeadline(time.Now().Add(3 * time.Second))
	line, _ := bufio.NewReader(c).ReadString('\n')
	c.Close()
	return line
}

// 121: each request of a connection is decided anew.
func TestEveryRequestIsDecided(t *testing.T) {
	var paths []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { paths = append(paths, r.URL.Path) }))
	defer srv.Close()
	d := webDesk(t, srv, func(a carrel.Action) carrel.Decision {
		if a.Operation == carrel.OpRequest && (a.Method != "GET" || a.URL == "/denied") {
			return carrel.Decision{Verdict: carrel.Deny, Rules: []string{"test/request"}, Reason: "not this one", NextSteps: []string{"ask"}}
		}
		return carrel.Decision{Verdict: carrel.Allow}
	})
	c := d.connect("ok.test", "80")
	fmt.Fprint(c, "GET /one HTTP/1.1\r\nHost: ok.test\r\n\r\nGET /denied HTTP/1.1\r\nHost: ok.test\r\n\r\nGET /three HTTP/1.1\r\nHost: ok.test\r\n\r\n")
	r := bufio.NewReader(c)
	for _, want := range []int{200, 403} {
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != want {
			t.Fatalf("%v, %v; want %d", resp, err, want)
		}
		body, _ := io.ReadAll(resp.Body)
		if want == 403 && (!strings.Contains(string(body), `"rule":"test/request"`) || !strings.Contains(string(body), `"next_steps":["ask"]`)) {
			t.Errorf("%s", body)
		}
	}
	if len(paths) != 1 || paths[0] != "/one" {
		t.Errorf("the server saw %v", paths)
	}
	d.wantRefused(carrel.OpRequest, "ok.test", "test/request")
}

// 128: the door follows no redirect.
func TestRedirectsAreTheClientsBusiness(t *testing.T) {
	srv := httptest.NewServer(http.RedirectHandler("http://169.254.169.254/latest", http.StatusFound))
	defer srv.Close()
	d := webDesk(t, srv, nil)
	client := d.client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Get("http://ok.test/")
	if err != nil || resp.StatusCode != http.StatusFound {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	if body, status := get(t, d.client(), "http://ok.test/"); status != http.StatusForbidden || !strings.Contains(body, "egress/metadata") {
		t.Errorf("following it: %d %s", status, body)
	}
}

// 133: an answer that never ends arrives as it comes.
func TestAnswersStream(t *testing.T) {
	sse := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}))
	defer sse.CloseClientConnections()
	d := webDesk(t, sse, nil)
	resp, err := d.client().Get("http://ok.test/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n') // comes although the answer never ends
	if line != "data: 0\n" {
		t.Errorf("%q, %v", line, err)
	}
}

// 124: nor may the server turn the connection into something else.
func TestUnaskedProtocolSwitchIsRefused(t *testing.T) {
	for _, head := range []string{"HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			defer c.Close()
			io.WriteString(c, head)
			io.Copy(c, c)
		}))
		defer srv.Close()
		d := webDesk(t, srv, nil)
		if line := firstLine(t, d, "GET / HTTP/1.1\r\nHost: ok.test\r\n\r\n"); !strings.HasPrefix(line, "HTTP/1.1 502") {
			t.Errorf("%q", line)
		}
		m := newDesk(t, setup{grants: Grants{Model: srv.URL}})
		if _, status := get(t, m.client(), "http://model.desk/"); status != http.StatusBadGateway {
			t.Errorf("through the model door: %d", status)
		}
	}
}

// A broken answer arrives broken: it must not look complete.
func TestCutAnswersLookCut(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer srv.Close()
	d := webDesk(t, srv, nil)
	resp, err := d.client().Get("http://ok.test/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%q looks complete", b)
	}
	eventually(t, "a record that it broke", func() bool {
		return slices.ContainsFunc(d.log.Records(), func(r carrel.Record) bool {
			return r.Kind == carrel.KindResult && r.Action.Operation == carrel.OpRequest && r.Outcome.Status == carrel.OutcomeFailed
		})
	})
}

// A name or service that is refused later than at its connection says so.
func TestUnreachableServersAreReported(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	d := newDesk(t, setup{
		grants:    Grants{Rules: []Rule{{Host: "*.ok.test", Ports: []int{80}}, {Host: "*.ok.test", Ports: []int{22}, Protocol: carrel.ProtoTCP}}},
		addresses: map[string][]string{"down.ok.test": {public}, "private.ok.test": {"10.0.0.1"}},
		dial:      map[string]string{public + ":80": l.Addr().String(), public + ":22": l.Addr().String()},
	})
	for _, host := range []string{"down.ok.test", "unknown.ok.test"} {
		if got, err := d.exchange(host, "22", "canary"); err == nil {
			t.Errorf("%s answered %q", host, got)
		}
		eventually(t, host+" reported", func() bool {
			b := d.lastBreach()
			return b.Rule == "egress/unreachable" && b.Action.Host == host && !strings.Contains(b.Reason, "127.0.0.1")
		})
	}
	if body, status := get(t, d.client(), "http://down.ok.test/"); status != http.StatusBadGateway || !strings.Contains(body, "egress/unreachable") || !strings.Contains(body, `"next_steps":["`) {
		t.Errorf("%d %s", status, body)
	}
	if body, status := get(t, d.client(), "http://private.ok.test/"); status != http.StatusForbidden || !strings.Contains(body, "addresses: [10.0.0.1]") {
		t.Errorf("%d %s", status, body)
	}
	d.wantBreach("egress/address")
}

// A host service is one destination of the host, by name, and no other.
func TestHostService(t *testing.T) {
	server := echoServer(t)
	_, port, _ := net.SplitHostPort(server)
	s, err := ParseService("db=localhost:" + port)
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, setup{grants: Grants{Services: []Service{s}}, addresses: map[string][]string{"localhost": {"127.0.0.1"}}})
	if got, err := d.exchange("db.desk", port, "hello"); got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := d.lookup("other.desk"); err == nil {
		t.Error("other.desk resolves")
	}
	if c, err := d.dial("tcp", "127.0.0.1:"+port); err == nil {
		c.Close()
		t.Error("the host's loopback is reachable by its address")
	}
	if got, err := d.exchangeAddr("10.0.0.1:"+port, "canary"); err == nil {
		t.Errorf("another address on the service's port answered %q", got)
	}
}
