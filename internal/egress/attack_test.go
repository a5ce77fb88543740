package egress

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
)

// 119 and the smuggling set, over a real connection: a request before stays
// served, the ambiguous one is answered with 400, nothing after it is read.
func TestAttackAmbiguousRequestsOnAConnection(t *testing.T) {
	var seen atomic.Pointer[string]
	var count atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uri := r.Method + " " + r.RequestURI
		seen.Store(&uri)
		count.Add(1)
		io.Copy(io.Discard, r.Body)
	}))
	defer srv.Close()
	d := webDesk(t, srv, nil)
	const first, after = "GET /first HTTP/1.1\r\nHost: ok.test\r\n\r\n", "GET /smuggled HTTP/1.1\r\nHost: ok.test\r\n\r\n"
	for name, raw := range ambiguous {
		c := d.connect("ok.test", "80")
		io.WriteString(c, first+raw+after)
		answers, _ := io.ReadAll(c)
		if n := strings.Count(string(answers), "HTTP/1.1 "); n != 2 || !strings.HasPrefix(string(answers), "HTTP/1.1 200") ||
			!strings.Contains(string(answers), "HTTP/1.1 400") || !strings.Contains(string(answers), `"rule":"egress/framing"`) || !strings.Contains(string(answers), `"next_steps":["send it with one length`) {
			t.Errorf("%s: %q", name, answers)
		}
	}
	if last := *seen.Load(); last != "GET /first" || count.Load() != int64(len(ambiguous)) {
		t.Errorf("the server saw %d requests, the last %q", count.Load(), last)
	}
	for name, body := range ambiguousBodies {
		c := d.connect("ok.test", "80")
		io.WriteString(c, post+"Transfer-Encoding: chunked\r\n\r\n"+body+after)
		answers, _ := io.ReadAll(c)
		if strings.Contains(string(answers), "HTTP/1.1 200") {
			t.Errorf("%s: %q", name, answers)
		}
	}
	if last := *seen.Load(); strings.Contains(last, "smuggled") {
		t.Errorf("the server saw %q", last)
	}
	for _, framed := range []string{"Content-Length: 2\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"} {
		if line := firstLine(t, d, post+framed); !strings.HasPrefix(line, "HTTP/1.1 200") {
			t.Errorf("plain: %q", line)
		}
	}
}

// 125: what could be another path on the server is refused, and the plain
// spelling is what arrives.
func TestAttackAmbiguousPaths(t *testing.T) {
	var seen atomic.Pointer[string]
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen.Store(&r.RequestURI) }))
	defer srv.Close()
	d := webDesk(t, srv, nil)
	get := func(path string) string {
		return firstLine(t, d, "GET "+path+" HTTP/1.1\r\nHost: ok.test\r\n\r\n")
	}
	for _, path := range []string{"/public/../private", "/%2e%2e/private", "/%252e%252e/x", "//private", "/public/./x", "/x/..;a=b/y", "/x%5c..%5cy", "/%c0%ae%c0%ae/", "/a%00b",
		"/x/..%20/y", "/x/%ef%bc%8e%ef%bc%8e/y", "/x/%e2%80%a5/y", "/x/..%ef%bc%8fy"} {
		if line := get(path); !strings.HasPrefix(line, "HTTP/1.1 403") {
			t.Errorf("%s: %q", path, line)
		}
	}
	if seen.Load() != nil {
		t.Errorf("the server saw %s", *seen.Load())
	}
	if line := get("/%70ublic/@a%2fb?q=%2e%2e"); !strings.HasPrefix(line, "HTTP/1.1 200") || *seen.Load() != "/public/@a%2Fb?q=%2e%2e" {
		t.Errorf("%q, the server saw %v", line, seen.Load())
	}
	for _, r := range d.log.Records() {
		if r.Kind == carrel.KindIntent && r.Action.Operation == carrel.OpRequest && string(r.Action.URL) != *seen.Load() {
			t.Errorf("decided %s, sent %s", r.Action.URL, *seen.Load())
		}
	}
}

// Headers and parameters by which some servers take a request for another one
// than was decided.
func TestAttackRequestInTheGuiseOfAnother(t *testing.T) {
	var seen atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen.Add(1) }))
	defer srv.Close()
	d := webDesk(t, srv, nil)
	ask := func(target, header string) string {
		return firstLine(t, d, "POST "+target+" HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 0\r\n"+header+"\r\n")
	}
	for _, bad := range [][2]string{
		{"/x", "X-HTTP-Method-Override: DELETE\r\n"}, {"/x", "x_http_method_override: DELETE\r\n"}, {"/x", "X-HTTP-Method: PUT\r\n"}, {"/x", "X-Method-Override: POST, DELETE\r\n"},
		{"/x", "X-HTTP-Method-Override: POST\r\nX-HTTP-Method-Override: DELETE\r\n"}, {"/x", "X-Original-URL: /private\r\n"}, {"/x", "X-Rewrite-URL: /private\r\n"},
		{"/x?_method=delete", ""}, {"/x?a=1;%5fmethod=delete", ""}, {"/x?_method=POST&_method=PUT", ""},
	} {
		if line := ask(bad[0], bad[1]); !strings.HasPrefix(line, "HTTP/1.1 403") {
			t.Errorf("%q: %q", bad, line)
		}
	}
	if seen.Load() != 0 {
		t.Errorf("the server saw %d of them", seen.Load())
	}
	for _, good := range [][2]string{{"/x", "X-HTTP-Method-Override: post\r\n"}, {"/x?_method=POST&method=PUT", ""}, {"/x", "X-Request-Id: 1\r\n"}} {
		if line := ask(good[0], good[1]); !strings.HasPrefix(line, "HTTP/1.1 200") {
			t.Errorf("%q: %q", good, line)
		}
	}
}

// Connections that say nothing, many of them, keep nobody else out and cost
// little; past the bound a new one is refused at once instead of waiting.
func TestAttackIdleConnections(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer srv.Close()
	d := newDesk(t, setup{
		grants: Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{80, 443}}, {Host: "ok.test", Ports: []int{22}, Protocol: carrel.ProtoTCP}}}, addresses: map[string][]string{"ok.test": {public}},
		dial: map[string]string{public + ":80": srv.Listener.Addr().String(), public + ":22": echoServer(t)},
	})
	before := inUse()
	const each = 400
	for _, port := range []string{"22", "80", "443"} {
		for range each {
			d.connect("ok.test", port)
		}
	}
	eventually(t, "all of them held", func() bool { return len(d.door.slots) == 3*each })
	if per := (inUse() - before) / (3 * each); per > 64<<10 {
		t.Errorf("an idle connection takes %d KiB", per>>10)
	}
	if line := firstLine(t, d, "GET / HTTP/1.1\r\nHost: ok.test\r\n\r\n"); !strings.HasPrefix(line, "HTTP/1.1 200") {
		t.Errorf("beside them: %q", line)
	}
	eventually(t, "only them held", func() bool { return len(d.door.slots) == 3*each })
	for len(d.door.slots) < cap(d.door.slots) {
		d.door.slots <- struct{}{}
	}
	start := time.Now()
	if got, err := d.exchange("ok.test", "22", "canary"); err == nil || time.Since(start) > 2*time.Second {
		t.Errorf("one too many: %q after %v", got, time.Since(start))
	}
	eventually(t, "the notice", func() bool { return d.lastBreach().Rule == "egress/connections" })
	for len(d.door.slots) > 3*each {
		<-d.door.slots
	}
	if got, err := d.exchange("ok.test", "22", "again"); got != "again" {
		t.Errorf("when there is room: %q, %v", got, err)
	}
}

// inUse is heap and stacks after a collection.
func inUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse + m.StackInuse)
}

// 92: below a wildcard every name may be known, and still no question leaves
// the machine before a connection to that very name was decided and recorded.
func TestAttackNamesBelowAWildcardStayHome(t *testing.T) {
	var asked atomic.Int64
	d := newDesk(t, setup{
		grants:  Grants{Rules: []Rule{{Host: "*.ok.test"}}},
		resolve: func(string) ([]netip.Addr, error) { asked.Add(1); return nil, net.ErrClosed },
	})
	for _, label := range []string{"canary", strings.Repeat("c", 63), "a.b.c.canary"} {
		if _, err := d.lookup(label + ".ok.test"); err != nil {
			t.Errorf("%s: %v", label, err)
		}
	}
	for _, label := range []string{strings.Repeat("c", 64), strings.Repeat("c.", 127), "canary_", "ca*ary"} {
		if addr, err := d.lookup(label + ".ok.test"); err == nil {
			t.Errorf("%s is %s", label, addr)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d questions left the machine", n)
	}
	d.exchange("canary.ok.test", "443", "GET / HTTP/1.1") // no TLS: not dialled either
	if n := asked.Load(); n != 0 {
		t.Errorf("%d questions left the machine for a connection that was not carried", n)
	}
	recorded := 0
	for _, r := range d.log.Records() {
		if r.Kind == carrel.KindIntent && r.Action.Operation == carrel.OpResolve && strings.HasSuffix(r.Action.Host, ".ok.test") {
			recorded++
		}
	}
	if recorded != 3 {
		t.Errorf("%d names are recorded, want 3", recorded)
	}
}

// A wrong port of a host service is refused as what it is: it leads nowhere
// on the host, and the way that is meant is named.
func TestAttackOtherPortsOfAHostService(t *testing.T) {
	server, other := echoServer(t), echoServer(t)
	one, _ := ParseService("db=" + server)
	two, _ := ParseService("web=" + other)
	d := newDesk(t, setup{grants: Grants{Services: []Service{one, two}}})
	_, port, _ := net.SplitHostPort(server)
	_, otherPort, _ := net.SplitHostPort(other)
	if got, err := d.exchange("db.desk", otherPort, "canary"); err == nil {
		t.Errorf("the other service's port answered %q", got)
	}
	var refused *carrel.Record
	eventually(t, "a record", func() bool {
		for _, r := range d.log.Records() {
			if r.Kind == carrel.KindRefused && r.Action.Operation == carrel.OpConnect {
				refused = &r
			}
		}
		return refused != nil
	})
	if refused == nil {
		return
	}
	steps := strings.Join(refused.Decision.NextSteps, " ")
	if refused.Action.Service != "" || !strings.Contains(refused.Decision.Reason, server) || !strings.Contains(steps, "db.desk:"+port) {
		t.Errorf("%+v: %s; %s", refused.Action, refused.Decision.Reason, steps)
	}
	if got, err := d.exchange("db.desk", port, "hello"); got != "hello" {
		t.Errorf("its own port: %q, %v", got, err)
	}
}

// A URL where a destination belongs is answered with what to write instead.
func TestAllowOfAURLSaysWhatToWrite(t *testing.T) {
	for in, want := range map[string]string{
		"http://ok.test": "write ok.test:80", "https://ok.test/": "write ok.test", "https://ok.test:8443/x": "write ok.test:8443; for one path only", "http://ok.test:8080": "write ok.test:8080/http",
		"https://ok.test/v1?x": `paths: ["/v1"]`, "http://[2606:4700::1111]/": "write [2606:4700::1111]:80", "ftp://": "write HOST", "https://user:canary@ok.test": "write ok.test",
	} {
		_, err := ParseAllow(in)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v; want %q", in, err, want)
		}
	}
}
