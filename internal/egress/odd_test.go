package egress

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// oneOf chooses.
func oneOf(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

// mostly chooses the first, and now and then another.
func mostly(r *rand.Rand, plain string, odd ...string) string {
	if r.IntN(12) > 0 {
		return plain
	}
	return oneOf(r, odd...)
}

// oddRequest is a request that a program may have got wrong, or an attacker
// right.
func oddRequest(r *rand.Rand) string {
	var b strings.Builder
	eol := func() string {
		if r.IntN(100) > 0 {
			return "\r\n"
		}
		return oneOf(r, "\n", "\r", "\r\r\n", " \r\n", "\r\n\r\n")
	}
	b.WriteString(oneOf(r, "GET", "GET", "HEAD", "POST", "PUT", mostly(r, "OPTIONS", "get", "G:T", "CONNECT")) + mostly(r, " ", "  ", "\t"))
	b.WriteString(mostly(r, oneOf(r, "/a", "/%61?b=%2e", "http://ok.test/a"), "/a/..%2fb", "//a", "/a#b", "http://evil.test/a", "https://ok.test/", "*", "ok.test:80", "/a b", "/ä", ""))
	b.WriteString(" " + mostly(r, "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1") + eol())
	b.WriteString(mostly(r, oneOf(r, "Host: ok.test", "host:ok.test"), "Host: OK.test:80", "Host: ok.test:443", "Host: evil.test", "Host : ok.test", " Host: ok.test", "Host: ok.test, evil.test", "X: y") + eol())
	for range r.IntN(3) {
		b.WriteString(mostly(r, oneOf(r, "X-A: b", "X-A:", "Connection: keep-alive, X-A", "Expect: 100-continue", "TE: trailers", "X-Forwarded-Host: evil.test"), "X-A: b\r\n\tc", ": b", "X A: b", "X-A",
			"Connection: close", "Connection: upgrade\r\nUpgrade: websocket", "Upgrade: h2c", "Expect: 200-maybe", "Host: evil.test", "Content-Length: 0", "Content_Length: 3", "Transfer-Encoding: identity", "Transfer-Encoding: \vchunked") + eol())
	}
	switch r.IntN(4) {
	case 0:
		n := r.IntN(5)
		b.WriteString(mostly(r, "Content-Length: ", "content-length:", "Content-Length: +", "Content-Length: 0x", "Content-Length: 3, ", "Content-Length: 1\r\nContent-Length: ") + strconv.Itoa(n) + eol() + eol() + "GET /s"[:n])
	case 1:
		b.WriteString(mostly(r, "Trailer: X-Sum\r\n", "Trailer: Host\r\n") + "Transfer-Encoding: " + mostly(r, oneOf(r, "chunked", "Chunked"), "chunked, identity", "chunked\r\nContent-Length: 2", "x") + eol() + eol())
		for range r.IntN(3) {
			b.WriteString(mostly(r, oneOf(r, "3", "003"), "3;x=y", " 3", "3 ", "+3", "0x3", "-3", "4") + eol() + "abc" + eol())
		}
		b.WriteString("0" + eol() + mostly(r, oneOf(r, "", "X-Sum: 1\r\n"), "Host: evil.test\r\n", " folded\r\n") + eol())
	default:
		b.WriteString(eol())
	}
	return b.String()
}

// readByGo is how net/http reads a stream of requests: method, target in its
// one spelling and body of each.
func readByGo(raw string) (asked []string) {
	in := bufio.NewReader(strings.NewReader(raw))
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return asked
		}
		body, err := io.ReadAll(r.Body)
		target, bad := canonicalTarget(r.URL)
		if err != nil || bad != nil {
			return asked
		}
		asked = append(asked, r.Method+" "+target.String()+" "+string(body))
	}
}

// Odd requests, one after the other: what the policy saw is what the origin
// received, and what net/http reads of the stream; or it is refused.
func TestAttackOddRequestsAreReadInOneWay(t *testing.T) {
	var all sync.WaitGroup
	var passed atomic.Int32
	slots := make(chan struct{}, 32)
	for seed := range uint64(1000) {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			r := rand.New(rand.NewPCG(seed, 1))
			raw := ""
			for range 1 + r.IntN(3) {
				raw += oddRequest(r)
			}
			decided, received, bodies := twoSides(t, []byte(raw))
			if len(decided) < len(received) || !slices.Equal(decided[:len(received)], received) {
				t.Errorf("%q: decided %q, received %q", raw, decided, received)
			}
			passed.Add(int32(len(bodies)))
			whole := readByGo(raw)
			for i, body := range bodies {
				got := strings.Split(received[i], " ")
				if i >= len(whole) || whole[i] != got[0]+" "+got[2]+" "+body {
					t.Errorf("%q: the origin received %s with %q, Go reads %q", raw, received[i], body, whole)
				}
			}
		})
	}
	all.Wait()
	if passed.Load() < 50 { // else the test compares little
		t.Errorf("%d requests of 1000 streams passed", passed.Load())
	}
}

// oddAnswer is what an origin may say to a GET or HEAD, wrong or not.
func oddAnswer(r *rand.Rand) string {
	var b strings.Builder
	if r.IntN(5) == 0 {
		b.WriteString(oneOf(r, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "\r\n"))
	}
	b.WriteString(oneOf(r, "HTTP/1.1 200 OK", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK", "HTTP/1.0 200 OK", "HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified", "HTTP/1.1 200", "HTTP/1.1 20 OK", "HTTP/1.1 +20 OK", "ICY 200 OK") + oneOf(r, "\r\n", "\r\n", "\r\n", "\n"))
	for range r.IntN(2) {
		b.WriteString(oneOf(r, "X-A: b\r\n", "X-A: b\r\n c\r\n", "X A: b\r\n", ": b\r\n", "X-A\r\n", "Connection: close\r\n", "Trailer: X-Sum\r\n", "X-A: \x00\r\n"))
	}
	switch r.IntN(4) {
	case 0:
		b.WriteString(oneOf(r, "Content-Length: 3\r\n", "Content-Length: 3\r\n", "Content-Length: 2\r\n", "Content-Length: 3\r\nContent-Length: 3\r\n", "Content-Length: 3\r\nContent-Length: 2\r\n", "Content-Length: +3\r\n", "Content-Length: 9\r\n") + "\r\nabc")
	case 1:
		b.WriteString("Transfer-Encoding: " + oneOf(r, "chunked", "chunked", "chunked\r\nContent-Length: 3", "chunked, chunked", "identity", "gzip") + "\r\n\r\n")
		b.WriteString(oneOf(r, "3\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", "3;x\r\nabc\r\n0\r\n\r\n", "3\nabc\n0\n\n", "4\r\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n", "g\r\nabc\r\n", "3\r\nabc\r\n0\r\n"))
	case 2:
		b.WriteString("Content-Length: 0\r\n\r\n")
	default:
		b.WriteString("\r\nabc")
	}
	return b.String() + oneOf(r, "", "", "", foreignAnswer)
}

// answerByGo is how net/http reads an answer whose connection then ends; ok
// says that it came whole.
func answerByGo(raw, method string) (status int, body string, ok bool) {
	in := bufio.NewReader(strings.NewReader(raw))
	for {
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return 0, "", false
		}
		if resp.StatusCode >= 200 {
			b, err := io.ReadAll(resp.Body)
			return resp.StatusCode, string(b), err == nil
		}
	}
}

// oddOrigin answers each request with what next says, then with "mark", and
// ends connections that say nothing for a moment.
func oddOrigin(t testing.TB) (dial func() (net.Conn, error), next func(raw string)) {
	var mu sync.Mutex
	var now string
	o := newOrigin(t, false, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		mu.Lock()
		say := now
		mu.Unlock()
		if r.URL.Path == "/mark" {
			say = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmark"
		}
		io.WriteString(c, say)
		time.AfterFunc(20*time.Millisecond, func() { c.Close() })
	})
	d := inspectedDesk(t, o, setup{forget: true, grants: Grants{Rules: []Rule{{Host: "example.com", Methods: []string{"GET", "HEAD"}}}}})
	trust := d.trusting(false).Transport.(*http.Transport).TLSClientConfig.Clone()
	trust.ServerName = "example.com"
	addr, err := d.lookup("example.com")
	if err != nil {
		t.Fatal(err)
	}
	dial = func() (net.Conn, error) {
		c, err := d.dial("tcp", net.JoinHostPort(addr, "443"))
		return tls.Client(c, trust), err
	}
	return dial, func(raw string) { mu.Lock(); now = raw; mu.Unlock() }
}

// checkAnswer asks for raw, and then for something else: what arrives is what
// net/http reads of raw, or a refusal, or visibly broken; and the other answer
// is its own.
func checkAnswer(t *testing.T, dial func() (net.Conn, error), next func(string), method, raw string) (passed bool) {
	next(raw)
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	c.SetDeadline(time.Now().Add(10 * time.Second))
	status, body, whole := answerByGo(raw, method)
	got, text, err := ask(c, in, method, "/odd")
	if err == nil && got != http.StatusBadGateway && (!whole || got != status || text != body) {
		t.Errorf("%s %q arrives as %d %q; Go reads %d %q (whole: %v)", method, raw, got, text, status, body, whole)
	}
	if err != nil {
		return false
	}
	if _, text, err := ask(c, in, "GET", "/mark"); err == nil && text != "mark" {
		t.Errorf("after %q to %s: %q", raw, method, text)
	}
	return got != http.StatusBadGateway
}

func ask(c net.Conn, in *bufio.Reader, method, path string) (status int, body string, err error) {
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: example.com\r\n\r\n", method, path)
	resp, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		return 0, "", err
	}
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func TestAttackOddAnswersAreReadInOneWay(t *testing.T) {
	dial, next := oddOrigin(t)
	r := rand.New(rand.NewPCG(1, 2))
	passed := 0
	for range 250 {
		if checkAnswer(t, dial, next, oneOf(r, "GET", "GET", "HEAD"), oddAnswer(r)) {
			passed++
		}
	}
	if passed < 50 || passed > 200 { // else the test compares little
		t.Errorf("%d of 250 passed", passed)
	}
}

func FuzzAnswersAreReadInOneWay(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		f.Add(r.IntN(3) == 0, oddAnswer(r))
	}
	dial, next := oddOrigin(f)
	f.Fuzz(func(t *testing.T, head bool, raw string) {
		checkAnswer(t, dial, next, map[bool]string{true: "HEAD", false: "GET"}[head], raw)
	})
}

// Buffers are lent for one exchange at a time: no answer shows a byte of
// another, whoever leaves in the middle.
func TestLentBuffersAreNotShared(t *testing.T) {
	o := newOrigin(t, false, func(w http.ResponseWriter, r *http.Request) {
		letter, size := r.URL.Query().Get("letter"), 1000
		if r.URL.Path == "/long" {
			size = 200_000
		}
		for range 4 {
			io.WriteString(w, strings.Repeat(letter, size/4))
			w.(http.Flusher).Flush()
		}
	})
	d := inspectedDesk(t, o, setup{forget: true, grants: Grants{Rules: []Rule{{Host: "example.com", Methods: []string{"GET"}}}}})
	var all sync.WaitGroup
	for i := range 12 {
		letter := string(rune('a' + i))
		conns := make([]net.Conn, 6)
		for j := range conns {
			conns[j], _ = d.inspected()
		}
		all.Go(func() {
			for j, c := range conns {
				in := bufio.NewReader(c)
				for k := range 10 {
					if k == 9 && j%2 == 0 { // leaves in the middle
						fmt.Fprintf(c, "GET /long?letter=%s HTTP/1.1\r\nHost: example.com\r\n\r\n", letter)
						in.Peek(100)
						break
					}
					if _, body, err := ask(c, in, "GET", oneOf(rand.New(rand.NewPCG(uint64(i), uint64(k))), "/short", "/long")+"?letter="+letter); err != nil || strings.Trim(body, letter) != "" || len(body) < 1000 {
						t.Errorf("%s: %d bytes, %v, not all its own", letter, len(body), err)
					}
				}
				c.Close()
			}
		})
	}
	all.Wait()
}
