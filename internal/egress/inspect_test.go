package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// origin is a server of the internet that speaks TLS, with what it was asked.
type origin struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
}

func newOrigin(t testing.TB, http2 bool, h http.HandlerFunc) *origin {
	o := &origin{}
	o.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		if len(o.seen) < 1000 {
			o.seen = append(o.seen, r.Method+" "+r.Host+" "+r.RequestURI)
		}
		o.mu.Unlock()
		if h != nil {
			h(w, r)
		}
	}))
	o.EnableHTTP2 = http2
	o.StartTLS()
	t.Cleanup(o.Close)
	t.Cleanup(o.CloseClientConnections)
	return o
}

func (o *origin) asked() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.seen...)
}

// inspectedDesk reaches o as example.com (which its certificate is for), with
// the given rules.
func inspectedDesk(t testing.TB, o *origin, s setup) *testDesk {
	t.Helper()
	rules, err := NewRules(s.grants)
	if err != nil {
		t.Fatal(err)
	}
	var bound []Destination
	if s.cfg.Secrets != nil {
		bound = []Destination{{"example.com", 443}}
	}
	if s.cfg.Authority, err = NewAuthority(rules, bound); err != nil {
		t.Fatal(err)
	}
	if s.cfg.Roots == nil {
		s.cfg.Roots = x509.NewCertPool()
		s.cfg.Roots.AddCert(o.Certificate())
	}
	s.addresses = map[string][]string{"example.com": {public}, "other.example.com": {public}, "evil.test": {public}}
	s.dial = map[string]string{public + ":443": o.Listener.Addr().String(), public + ":80": o.Listener.Addr().String()}
	return newDesk(t, s)
}

// trusting is a client inside that trusts the run's authority and nothing
// else.
func (d *testDesk) trusting(http2 bool) *http.Client {
	pool := x509.NewCertPool()
	if a := d.door.cfg.Authority; a != nil {
		pool.AppendCertsFromPEM(a.PEM())
	}
	c := d.client()
	tr := c.Transport.(*http.Transport)
	tr.TLSClientConfig, tr.ForceAttemptHTTP2 = &tls.Config{RootCAs: pool}, http2
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

func do(t testing.TB, c *http.Client, method, url string, body io.Reader) (string, *http.Response) {
	t.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return string(b), resp
}

var readAndComment = []Rule{
	{Host: "example.com", Methods: []string{"GET", "HEAD"}, Paths: []string{"/public/**"}},
	{Host: "example.com", Methods: []string{"POST"}, Paths: []string{"/public/comments"}},
}

// B2: method and path are held, whichever HTTP is spoken on either side; what
// was decided is what the origin received.
func TestInspectedRequestsAreDecidedOneByOne(t *testing.T) {
	for _, inside := range []bool{false, true} {
		for _, outside := range []bool{false, true} {
			t.Run(fmt.Sprintf("http2 inside %v, outside %v", inside, outside), func(t *testing.T) {
				o := newOrigin(t, outside, func(w http.ResponseWriter, r *http.Request) {
					b, _ := io.ReadAll(r.Body)
					fmt.Fprintf(w, "%s %s", r.Proto, b)
				})
				d := inspectedDesk(t, o, setup{grants: Grants{Rules: readAndComment}})
				c := d.trusting(inside)
				want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}
				body, resp := do(t, c, "GET", "https://example.com/public/%61?q=1", nil)
				if resp.Proto != want[inside] || body != want[outside]+" " {
					t.Errorf("%s inside, %q outside", resp.Proto, body)
				}
				if body, resp = do(t, c, "POST", "https://example.com/public/comments", strings.NewReader("hello")); resp.StatusCode != 200 || !strings.HasSuffix(body, "hello") {
					t.Errorf("%d %q", resp.StatusCode, body)
				}
				for _, bad := range []string{"DELETE /public/a", "GET /private", "POST /public/a", "GET /public/..%2fprivate", "PUT /public/comments"} {
					method, path, _ := strings.Cut(bad, " ")
					body, resp := do(t, c, method, "https://example.com"+path, nil)
					if resp.StatusCode != 403 || !strings.Contains(body, `"rule":"`) || !strings.Contains(body, `"next_steps":["`) || !strings.Contains(body, `"action":"act_`) {
						t.Errorf("%s: %d %s", bad, resp.StatusCode, body)
					}
				}
				if got := strings.Join(o.asked(), ", "); got != "GET example.com /public/a?q=1, POST example.com /public/comments" {
					t.Errorf("the origin was asked %s", got)
				}
				var decided []string
				for _, r := range d.log.Records() {
					if r.Kind == carrel.KindIntent && r.Action.Operation == carrel.OpRequest {
						decided = append(decided, r.Action.Method+" "+r.Action.Host+" "+string(r.Action.URL))
					}
				}
				if got := strings.Join(decided, ", "); got != strings.Join(o.asked(), ", ") {
					t.Errorf("decided %s", got)
				}
				d.wantRefused(carrel.OpRequest, "example.com", "egress/request")
			})
		}
	}
}

// 115: inside TLS that is read, another host is another host.
func TestAttackFrontingInsideInspectedTLS(t *testing.T) {
	o := newOrigin(t, true, nil)
	d := inspectedDesk(t, o, setup{grants: Grants{Rules: append(readAndComment, Rule{Host: "other.example.com", Methods: []string{"GET"}})}})
	for _, http2 := range []bool{false, true} {
		for _, host := range []string{"evil.test", "other.example.com", "example.com:444", "example.com@evil.test"} {
			r, _ := http.NewRequest("GET", "https://example.com/public/a", nil)
			r.Host = host
			resp, err := d.trusting(http2).Do(r)
			if err != nil {
				continue // not even sent
			}
			resp.Body.Close()
			if resp.StatusCode < 400 {
				t.Errorf("%s: %s", host, resp.Status)
			}
		}
	}
	if got := o.asked(); len(got) != 0 {
		t.Errorf("the origin was asked %v", got)
	}
	if _, resp := do(t, d.trusting(false), "GET", "https://example.com:443/public/a", nil); resp.StatusCode != 200 {
		t.Errorf("its own name: %s", resp.Status)
	}
}

// A smuggling set inside TLS: the same reading stands before the server.
func TestAttackAmbiguousFramingInsideTLS(t *testing.T) {
	o := newOrigin(t, false, nil)
	d := inspectedDesk(t, o, setup{grants: Grants{Rules: readAndComment}})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(d.door.cfg.Authority.PEM())
	for name, raw := range ambiguous {
		c := tls.Client(d.connect("example.com", "443"), &tls.Config{RootCAs: pool, ServerName: "example.com"})
		io.WriteString(c, strings.ReplaceAll(raw, "ok.test", "example.com"))
		answer, _ := io.ReadAll(c)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 400") {
			t.Errorf("%s: %q", name, answer)
		}
	}
	if got := o.asked(); len(got) != 0 {
		t.Errorf("the origin was asked %v", got)
	}
}

// A host without rules by request passes unread: its own certificate arrives.
func TestOnlyWhatNeedsItIsInspected(t *testing.T) {
	o := newOrigin(t, true, nil)
	d := inspectedDesk(t, o, setup{grants: Grants{Rules: []Rule{{Host: "example.com"}, {Host: "*.example.com", Methods: []string{"GET"}}}}})
	c := d.trusting(true)
	c.Transport.(*http.Transport).TLSClientConfig.RootCAs.AddCert(o.Certificate())
	_, resp := do(t, c, "DELETE", "https://example.com/", nil)
	if !resp.TLS.PeerCertificates[0].Equal(o.Certificate()) {
		t.Error("a host level rule was inspected")
	}
	if _, resp := do(t, c, "GET", "https://other.example.com/", nil); resp.TLS.PeerCertificates[0].Equal(o.Certificate()) {
		t.Error("a request level rule was not inspected")
	}
	if a, err := NewAuthority(d.door.rules(), nil); err != nil || a == nil {
		t.Error(err)
	}
	plain, _ := NewRules(Grants{Rules: []Rule{{Host: "example.com"}, {Host: "web.test", Ports: []int{80}, Methods: []string{"GET"}}}})
	if a, err := NewAuthority(plain, []Destination{{"elsewhere.test", 443}}); a != nil || err != nil {
		t.Errorf("an authority for nothing: %v", err)
	}
}

// The authority is good for what the rules let the door read, for a while,
// and for nothing else, even in the hands of a thief.
func TestAuthorityIsConstrained(t *testing.T) {
	rules, err := NewRules(Grants{Rules: []Rule{{Host: "example.com", Methods: []string{"GET"}}, {Host: "*.wide.test", Methods: []string{"GET"}}, {Host: "free.test"}, {Host: "10.0.0.1", Methods: []string{"GET"}}}})
	if err != nil {
		t.Fatal(err)
	}
	pool := func(a *Authority) *x509.CertPool {
		p := x509.NewCertPool()
		p.AppendCertsFromPEM(a.PEM())
		return p
	}
	check := func(a *Authority, host string, at time.Time) error {
		c, err := a.certificate(host)
		if err != nil {
			return err
		}
		_, err = c.Leaf.Verify(x509.VerifyOptions{Roots: pool(a), DNSName: host, CurrentTime: at})
		return err
	}
	a, err := NewAuthority(rules, []Destination{{"free.test", 443}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, host := range []string{"example.com", "a.wide.test", "free.test", "10.0.0.1"} {
		if err := check(a, host, now); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{"evil.test", "example.com.evil.test", "notexample.com", "10.0.0.2", "1.1.1.1", "com"} {
		if check(a, host, now) == nil {
			t.Errorf("a certificate for %s is good", host)
		}
	}
	if check(a, "example.com", now.Add(authorityTime+time.Hour)) == nil {
		t.Error("it is good for ever")
	}
	if a.cert.CheckSignatureFrom(a.cert) != nil || !a.cert.MaxPathLenZero || a.cert.KeyUsage != x509.KeyUsageCertSign {
		t.Error("it may make further authorities")
	}
	addressOnly, _ := NewRules(Grants{Rules: []Rule{{Host: "10.0.0.1", Methods: []string{"GET"}}}})
	b, err := NewAuthority(addressOnly, nil)
	if err != nil {
		t.Fatal(err)
	}
	if check(b, "10.0.0.1", now) != nil || check(b, "example.com", now) == nil {
		t.Error("an authority for an address signs names")
	}
}

// 116: the origin is verified, always; 134: a client that pins is told why,
// and by which rule.
func TestCertificatesAreVerifiedOnBothSides(t *testing.T) {
	o := newOrigin(t, true, nil)
	d := inspectedDesk(t, o, setup{grants: Grants{Rules: readAndComment}, cfg: Config{Roots: x509.NewCertPool()}})
	body, resp := do(t, d.trusting(true), "GET", "https://example.com/public/a", nil)
	if resp.StatusCode != http.StatusBadGateway || !strings.Contains(body, `"rule":"egress/certificate"`) || !strings.Contains(body, "extra_roots") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if got := o.asked(); len(got) != 0 {
		t.Errorf("the origin was asked %v", got)
	}
	pinning := d.trusting(false)
	pinning.Transport.(*http.Transport).TLSClientConfig.RootCAs = x509.NewCertPool()
	if _, err := pinning.Get("https://example.com/public/a"); err == nil {
		t.Error("a client that trusts nobody was answered")
	}
	eventually(t, "the notice", func() bool {
		b := d.lastBreach()
		return b.Rule == "egress/pinned" && strings.Contains(b.Reason, "example.com:443 GET,HEAD /public/**") && strings.Contains(strings.Join(b.Next, " "), "egress: [{host: example.com}]")
	})
}

// socket answers an upgrade with a WebSocket that repeats what it is told.
func socket(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" {
		return
	}
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "websocket")
	w.WriteHeader(http.StatusSwitchingProtocols)
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	io.Copy(c, rw)
}

// upgrade is the request for a WebSocket.
func upgrade(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
}

// 124: a WebSocket is a permission of its own, and its bytes count.
func TestWebSocketIsItsOwnPermission(t *testing.T) {
	o := newOrigin(t, false, socket)
	d := inspectedDesk(t, o, setup{grants: Grants{Rules: []Rule{
		{Host: "example.com", Methods: []string{"GET"}, Paths: []string{"/plain"}},
		{Host: "example.com", Methods: []string{"GET"}, Paths: []string{"/socket"}, WebSocket: true, Upload: 2000},
	}}})
	open := func(path string) (net.Conn, *bufio.Reader, *http.Response) {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(d.door.cfg.Authority.PEM())
		c := tls.Client(d.connect("example.com", "443"), &tls.Config{RootCAs: pool, ServerName: "example.com"})
		io.WriteString(c, upgrade(path))
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c, r, resp
	}
	if _, _, resp := open("/plain"); resp.StatusCode != 403 {
		t.Errorf("without its permission: %s", resp.Status)
	}
	if got := o.asked(); len(got) != 0 {
		t.Errorf("the origin was asked %v", got)
	}
	c, r, resp := open("/socket")
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("with it: %s", resp.Status)
	}
	frame := "\x81\x05hello\r\n\x00GET / HTTP/1.0"
	for range 3 { // frames pass as they are, to and fro
		io.WriteString(c, frame)
		got := make([]byte, len(frame))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != frame {
			t.Fatalf("%q, %v", got, err)
		}
	}
	c.Write(make([]byte, 3000))
	if n, err := io.Copy(io.Discard, r); err == nil && n >= 3000 {
		t.Errorf("%d bytes came back of more than may be sent", n)
	}
}

// Most servers with WebSockets speak HTTP/2 as well, over which there is no
// upgrade: they are asked for HTTP/1.1 then, also after other requests.
func TestWebSocketWhereTheOriginPrefersHTTP2(t *testing.T) {
	o := newOrigin(t, true, func(w http.ResponseWriter, r *http.Request) {
		socket(w, r)
		io.WriteString(w, r.Proto)
	})
	d := inspectedDesk(t, o, setup{grants: Grants{Rules: []Rule{{Host: "example.com", Methods: []string{"GET", "POST"}, WebSocket: true}}}})
	for _, before := range []string{"", "GET", "POST"} {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(d.door.cfg.Authority.PEM())
		c := tls.Client(d.connect("example.com", "443"), &tls.Config{RootCAs: pool, ServerName: "example.com"})
		r := bufio.NewReader(c)
		if before != "" {
			fmt.Fprintf(c, "%s / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\n\r\n", before)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "HTTP/2.0" {
				t.Fatalf("a %s before it: %q, %v", before, body, err)
			}
		}
		io.WriteString(c, upgrade("/socket"))
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("after %q: %v, %v", before, resp, err)
		}
		io.WriteString(c, "\x81\x05hello")
		got := make([]byte, 7)
		if _, err := io.ReadFull(r, got); err != nil || string(got) != "\x81\x05hello" {
			t.Errorf("after %q: %q, %v", before, got, err)
		}
		c.Close()
	}
}

// 133: what streams, streams; on HTTP/2 beside other requests, also where the
// origin speaks HTTP/1.1 only.
func TestInspectedStreamsStream(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		next := make(chan struct{})
		o := newOrigin(t, http2, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/public/events" {
				return
			}
			for i := range 3 {
				fmt.Fprintf(w, "data: %d\n\n", i)
				w.(http.Flusher).Flush()
				<-next
			}
		})
		d := inspectedDesk(t, o, setup{grants: Grants{Rules: readAndComment}})
		c := d.trusting(true)
		resp, err := c.Get("https://example.com/public/events")
		if err != nil {
			t.Fatal(err)
		}
		events := bufio.NewReader(resp.Body)
		for i := range 3 {
			if line, err := events.ReadString('\n'); line != fmt.Sprintf("data: %d\n", i) {
				t.Errorf("event %d: %q, %v", i, line, err)
			}
			events.ReadString('\n')
			if _, other := do(t, c, "GET", "https://example.com/public/beside", nil); other.StatusCode != 200 {
				t.Errorf("beside the stream: %s", other.Status)
			}
			next <- struct{}{}
		}
		resp.Body.Close()
	}
}

// endless is a body that was never whole in memory.
type endless struct{ left int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), e.left)
	e.left -= n
	return int(n), nil
}

func TestUploadsAreNotBuffered(t *testing.T) {
	const size = 256 << 20
	var got atomic.Int64
	o := newOrigin(t, true, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		got.Store(n)
	})
	d := inspectedDesk(t, o, setup{grants: Grants{Rules: readAndComment}})
	before := inUse()
	var most atomic.Int64
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most.Store(max(most.Load(), int64(m.HeapInuse)))
			}
		}
	}()
	client := d.trusting(true)
	client.Timeout = 2 * time.Minute // against hanging: how fast it is is not the question, and the race detector is slow
	if _, resp := do(t, client, "POST", "https://example.com/public/comments", &endless{size}); resp.StatusCode != 200 || got.Load() != size {
		t.Errorf("%s, %d bytes", resp.Status, got.Load())
	}
	close(stop)
	if grown := most.Load() - int64(before); grown > 64<<20 {
		t.Errorf("%d MiB for %d", grown>>20, size>>20)
	}
}

func TestUploadsAreBudgeted(t *testing.T) {
	var got atomic.Int64
	o := newOrigin(t, true, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		got.Add(n)
	})
	d := inspectedDesk(t, o, setup{
		grants: Grants{Rules: []Rule{{Host: "example.com", Methods: []string{"POST"}, Upload: 100_000}, {Host: "other.example.com", Methods: []string{"POST"}}}},
		cfg:    Config{Upload: 300_000},
	})
	c := d.trusting(false)
	post := func(host string, size int64) int {
		resp, err := c.Post("https://"+host+"/", "text/plain", &endless{size})
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode == 403 && !strings.Contains(string(b), `"rule":"egress/upload"`) {
			t.Errorf("%s", b)
		}
		return resp.StatusCode
	}
	if s := post("example.com", 50_000); s != 200 {
		t.Errorf("within the rule's budget: %d", s)
	}
	if s := post("example.com", 60_000); s == 200 {
		t.Error("more than the rule's budget was sent")
	}
	if s := post("example.com", 20_000); s != 200 {
		t.Logf("what is left of it: %d", s) // the attempt before may have used it up
	}
	c.CloseIdleConnections()
	if s := post("other.example.com", 500_000); s == 200 {
		t.Error("more than the run's budget was sent")
	}
	if n := got.Load(); n > 300_000 {
		t.Errorf("%d bytes arrived", n)
	}
	d.wantBreach("egress/upload")
}

// vault is a Secrets that knows one.
type vault struct{ refuse error }

func (v vault) Bound(host string, port int) bool { return host == "example.com" && port == 443 }

func (v vault) Outgoing(_ context.Context, host string, port int, r *http.Request) error {
	if v.refuse != nil {
		return v.refuse
	}
	if r.Header.Get("Authorization") == "Bearer placeholder" {
		r.Header.Set("Authorization", "Bearer real")
	}
	return nil
}

func (v vault) Incoming(host string, port int, res *http.Response) {
	b, _ := io.ReadAll(res.Body)
	res.Body = io.NopCloser(bytes.NewReader(bytes.ReplaceAll(b, []byte("real"), []byte("****"))))
}

func TestCredentialsComeAndGoAtTheDoor(t *testing.T) {
	var seen atomic.Pointer[string]
	o := newOrigin(t, true, func(w http.ResponseWriter, r *http.Request) {
		got := r.Header.Get("Authorization")
		seen.Store(&got)
		io.WriteString(w, got)
	})
	ask := func(v vault) (string, int) {
		d := inspectedDesk(t, o, setup{grants: Grants{Rules: []Rule{{Host: "example.com"}}}, cfg: Config{Secrets: v}})
		r, _ := http.NewRequest("GET", "https://example.com/", nil)
		r.Header.Set("Authorization", "Bearer placeholder")
		resp, err := d.trusting(true).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		for _, r := range d.log.Records() {
			if b, _ := carrel.Canonical(r); bytes.Contains(b, []byte("Bearer")) {
				t.Errorf("recorded: %s", b)
			}
		}
		return string(b), resp.StatusCode
	}
	if body, status := ask(vault{}); body != "Bearer ****" || status != 200 || *seen.Load() != "Bearer real" {
		t.Errorf("%d %q, the origin saw %q", status, body, *seen.Load())
	}
	seen.Store(nil)
	refusal := &gate.Refusal{Decision: carrel.Decision{Rules: []string{"credential/misplaced"}, Reason: "not here"}}
	if body, status := ask(vault{refusal}); status != 403 || !strings.Contains(body, `"rule":"credential/misplaced"`) || seen.Load() != nil {
		t.Errorf("refused: %d %s; the origin saw %v", status, body, seen.Load())
	}
	if _, status := ask(vault{errors.New("broken")}); status != 502 || seen.Load() != nil {
		t.Errorf("failed: %d; the origin saw %v", status, seen.Load())
	}
}

// A corporate proxy with a password stands before the inspected origin as
// before any other, except for what NO_PROXY names; the origin is verified
// through it all the same.
func TestInspectedThroughTheHostsProxy(t *testing.T) {
	o := newOrigin(t, true, nil)
	var tunnels atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth(); user != "u" || password != "p" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		tunnels.Add(1)
		out, err := net.Dial("tcp", o.Listener.Addr().String())
		if err != nil {
			panic(err)
		}
		w.WriteHeader(http.StatusOK)
		in, early, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		go func() { io.Copy(out, early); out.Close() }()
		io.Copy(in, out)
		in.Close()
	}))
	defer proxy.Close()
	for _, c := range []struct {
		user, except string
		status       int
		tunnelled    bool
	}{{"u:p@", "", 200, true}, {"u:wrong@", "", 502, false}, {"u:p@", "example.com", 200, false}} {
		tunnels.Store(0)
		d := inspectedDesk(t, o, setup{grants: Grants{Rules: readAndComment},
			cfg: Config{Proxy: "http://" + c.user + strings.TrimPrefix(proxy.URL, "http://"), NoProxy: c.except}})
		if body, resp := do(t, d.trusting(true), "GET", "https://example.com/public/a", nil); resp.StatusCode != c.status || strings.Contains(body, "wrong") {
			t.Errorf("%+v: %d %s", c, resp.StatusCode, body)
		}
		if got := tunnels.Load() > 0; got != c.tunnelled {
			t.Errorf("%+v: through the proxy %v", c, got)
		}
	}
}

// A later connection to an origin that was verified resumes its session; one
// whose certificate is for another name never gets that far.
func TestSessionsWithOriginsAreResumed(t *testing.T) {
	var resumed atomic.Int64
	o := newOrigin(t, false, func(_ http.ResponseWriter, r *http.Request) {
		if r.TLS.DidResume {
			resumed.Add(1)
		}
	})
	d := inspectedDesk(t, o, setup{grants: Grants{Rules: []Rule{{Host: "example.com", Methods: []string{"GET"}}, {Host: "evil.test", Methods: []string{"GET"}}}}})
	for range 3 {
		if _, resp := do(t, d.trusting(false), "GET", "https://example.com/", nil); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
		if body, resp := do(t, d.trusting(false), "GET", "https://evil.test/", nil); resp.StatusCode != 502 || !strings.Contains(body, "egress/certificate") {
			t.Errorf("another name: %d %s", resp.StatusCode, body)
		}
	}
	if n := resumed.Load(); n != 2 {
		t.Errorf("%d of 2 were resumed", n)
	}
}

// What a connection holds does not grow with what it carries.
func TestMemoryStaysFlatOverManyRequests(t *testing.T) {
	o := newOrigin(t, false, nil)
	rules := Grants{Rules: []Rule{{Host: "example.com", Methods: []string{"GET"}}}}
	d := inspectedDesk(t, o, setup{grants: rules, forget: true})
	c := d.trusting(false)
	send := func(n int) {
		for range n {
			resp, err := c.Get("https://example.com/x")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
	}
	send(500)
	before := inUse()
	send(4000)
	if grown := inUse() - before; grown > 4<<20 {
		t.Errorf("%d KiB more after 4000 requests", grown>>10)
	}
	if n := runtime.NumGoroutine(); n > 200 {
		t.Errorf("%d goroutines", n)
	}
}
