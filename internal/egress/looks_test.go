package egress

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
)

// lookedAt is a plain connection of a desk to an origin that shows one kind of
// answer on each path.
func lookedAt(t *testing.T) (d *testDesk, c net.Conn, r *bufio.Reader, gone chan string) {
	gone = make(chan string, 4)
	o := newOrigin(t, false, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/same":
			w.WriteHeader(http.StatusNotModified)
		case "/trailer":
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "body")
			w.Header().Set("X-Sum", "42")
		case "/early":
			w.Header().Set("Link", "</x>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			io.WriteString(w, "late")
		case "/cut":
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/stream":
			for i := 0; r.Context().Err() == nil; i++ {
				fmt.Fprintf(w, "%d\n", i)
				w.(http.Flusher).Flush()
				time.Sleep(2 * time.Millisecond)
			}
			gone <- r.URL.Path
		case "/silent":
			gone <- "not yet"
			<-r.Context().Done()
			gone <- r.URL.Path
		case "/slow":
			time.Sleep(3 * watchAfter)
			io.WriteString(w, "slow")
		case "/twice":
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo")
				t.Cleanup(func() { c.Close() }) // it stays open, and says nothing more
			}
		case "/long":
			w.Write(make([]byte, 300_000))
		default:
			b, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %s", r.Method, r.RequestURI, b)
		}
	})
	d = inspectedDesk(t, o, setup{grants: Grants{Rules: []Rule{{Host: "example.com", Methods: []string{"GET", "HEAD", "POST"}}}}})
	c, r = d.inspected()
	return d, c, r, gone
}

// inspected is a TLS connection inside that the door reads.
func (d *testDesk) inspected() (net.Conn, *bufio.Reader) {
	tr := d.trusting(false).Transport.(*http.Transport)
	c := tls.Client(d.connect("example.com", "443"), &tls.Config{RootCAs: tr.TLSClientConfig.RootCAs, ServerName: "example.com"})
	return c, bufio.NewReader(c)
}

// asks sends a request and reads its answer whole.
func asks(t *testing.T, c net.Conn, r *bufio.Reader, method, path, more string) (*http.Response, string, error) {
	t.Helper()
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: example.com\r\n%s\r\n", method, path, more)
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

// Every kind of answer to a request that only looks arrives as it was given,
// one after the other on one connection, also with what needs the server in
// between and after it.
func TestAnswersToThoseWhoOnlyLook(t *testing.T) {
	_, c, r, _ := lookedAt(t)
	for _, q := range []struct {
		method, path, more, body string
		status                   int
	}{
		{"GET", "/a?b=c", "", "GET /a?b=c ", 200},
		{"HEAD", "/a", "", "", 200},
		{"GET", "/none", "", "", 204},
		{"GET", "/same", "", "", 304},
		{"GET", "/trailer", "", "body", 200},
		{"GET", "/early", "", "late", 200},
		{"GET", "/slow", "", "slow", 200},
		{"GET", "/long", "", string(make([]byte, 300_000)), 200},
		{"GET", "/with", "X: " + strings.Repeat("x", 20_000) + "\r\n", "GET /with ", 200}, // more than one read
		{"GET", "/after", "", "GET /after ", 200},
	} {
		resp, body, err := asks(t, c, r, q.method, q.path, q.more)
		if err != nil || resp.StatusCode != q.status || body != q.body {
			t.Errorf("%s %s: %d %.40q %v", q.method, q.path, resp.StatusCode, body, err)
		}
		if q.path == "/trailer" && resp.Trailer.Get("X-Sum") != "42" {
			t.Errorf("the trailer is %v", resp.Trailer)
		}
		if q.method == "HEAD" && resp.Header.Get("Content-Length") == "" {
			t.Error("HEAD says no length")
		}
	}
}

// Requests that were sent without waiting are answered in their order, with a
// body in the middle.
func TestLooksThatAreSentAtOnce(t *testing.T) {
	_, c, r, _ := lookedAt(t)
	host := " HTTP/1.1\r\nHost: example.com\r\n"
	io.WriteString(c, "GET /1"+host+"\r\nGET /slow"+host+"\r\nPOST /3"+host+"Content-Length: 2\r\n\r\nabGET /4"+host+"Connection: close\r\n\r\n")
	for _, want := range []string{"GET /1 ", "slow", "POST /3 ab", "GET /4 "} {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != want || err != nil {
			t.Errorf("%q, %v, want %q", b, err, want)
		}
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("after Connection: close: %v", err)
	}
}

// An answer that breaks off is not dressed up as a whole one.
func TestAnswerThatBreaksOffLooksSo(t *testing.T) {
	_, c, r, _ := lookedAt(t)
	if _, body, err := asks(t, c, r, "GET", "/cut", ""); err == nil {
		t.Errorf("%q, as if that were all", body)
	}
}

// The origin hears that who asked has gone, whether it says something or not.
func TestWhoAskedIsMissedWhenGone(t *testing.T) {
	for _, path := range []string{"/stream", "/silent"} {
		_, c, r, gone := lookedAt(t)
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: example.com\r\n\r\n", path)
		if path == "/stream" {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 { // it streams
				if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
		} else {
			<-gone // the request has arrived
			time.Sleep(2 * watchAfter)
		}
		c.Close()
		select {
		case <-gone:
		case <-time.After(5 * time.Second):
			t.Errorf("%s goes on without anybody", path)
		}
	}
}

// A refusal ends the connection, and arrives although more was sent.
func TestRefusalOfALookArrives(t *testing.T) {
	d, c, r, _ := lookedAt(t)
	resp, body, err := asks(t, c, r, "GET", "/a/..%2fb?key=canary", "")
	if why := d.lastBreach().Reason; !strings.Contains(why, `"GET" "/a/..%2fb"`) || strings.Contains(why, "canary") {
		t.Errorf("told as %s", why)
	}
	if err != nil || resp.StatusCode != 403 || !strings.Contains(body, `"rule":"egress/path"`) || !resp.Close {
		t.Errorf("%d %s %v", resp.StatusCode, body, err)
	}
	c, r = d.inspected()
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n%s", strings.Repeat("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", 100))
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 403 {
		t.Errorf("%v %v", resp, err)
	}
	if refused := d.lastBreach(); refused.Rule != "egress/host-header" || len(refused.Next) != 1 || refused.Action.Operation != carrel.OpConnect {
		t.Errorf("%+v", refused)
	}
}

// An answer that nobody asked for is not taken for the next one's.
func TestAnswersUnaskedAreDropped(t *testing.T) {
	_, c, r, _ := lookedAt(t)
	c.SetDeadline(time.Now().Add(10 * time.Second))
	for _, ask := range [][2]string{{"/twice", "one"}, {"/after", "GET /after "}} {
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: example.com\r\n\r\n", ask[0])
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(resp.Body); string(got) != ask[1] {
			t.Errorf("%s answered %q, %v; want %q", ask[0], got, err, ask[1])
		}
	}
}
