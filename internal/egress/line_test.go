package egress

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// answering is an origin that speaks TLS and says, byte for byte, what say
// does for each request, and the desk's connection to it.
func answering(t *testing.T, say func(c net.Conn, r *http.Request)) (net.Conn, *bufio.Reader) {
	o := newOrigin(t, false, func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		for {
			if say(c, r); strings.HasPrefix(r.URL.Path, "/end") {
				return
			}
			if r, err = http.ReadRequest(rw.Reader); err != nil {
				return
			}
		}
	})
	d := inspectedDesk(t, o, setup{grants: Grants{Rules: []Rule{{Host: "example.com", Methods: []string{"GET", "HEAD"}}}}})
	c, r := d.inspected()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close() })
	return c, r
}

const foreignAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforeign"

// What an origin says after its answer, in a later segment, is not taken for
// the answer to the next request.
func TestAttackLateAnswerIsNotTheNext(t *testing.T) {
	for _, first := range []struct{ method, answer string }{
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"},
		{"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n"},
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 46\r\n\r\n"},
		{"GET", "HTTP/1.1 204 No Content\r\n\r\n"},
		{"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 46\r\n\r\n"},
	} {
		late, said := make(chan struct{}), make(chan struct{})
		c, r := answering(t, func(c net.Conn, r *http.Request) {
			if r.URL.Path != "/first" {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo")
				return
			}
			io.WriteString(c, first.answer)
			<-late
			io.WriteString(c, foreignAnswer)
			close(said)
		})
		if resp, _, err := asks(t, c, r, first.method, "/first", ""); err != nil || resp.StatusCode >= 400 {
			t.Fatal(resp.Status, err)
		}
		close(late)
		<-said
		if _, body, err := asks(t, c, r, "GET", "/second", ""); body != "two" {
			t.Errorf("after %q: %q, %v", first.answer, body, err)
		}
	}
}

// What came in the record of the answer itself, beyond what was read of it,
// is not taken for the next answer either.
func TestAttackAnswerBehindTheReadBuffer(t *testing.T) {
	c, r := answering(t, func(c net.Conn, r *http.Request) {
		if r.URL.Path == "/first" {
			body := strings.Repeat("x", 12<<10) // longer than one read
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s%s", len(body), body, foreignAnswer)
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo")
	})
	asks(t, c, r, "GET", "/first", "")
	if _, body, err := asks(t, c, r, "GET", "/second", ""); body != "two" {
		t.Errorf("%q, %v", body, err)
	}
}

// A request is sent again if the connection was closed before any of its
// answer came, and never after.
func TestOnlyUnansweredRequestsAreSentAgain(t *testing.T) {
	for part, again := range map[string]bool{
		"": true, "HTTP/1.1 20": false, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n": false, "HTTP/1.1 103 Early Hints\r\n\r\n": false,
	} {
		var asked atomic.Int32
		c, r := answering(t, func(c net.Conn, r *http.Request) {
			if r.URL.Path == "/end" && asked.Add(1) == 1 {
				io.WriteString(c, part)
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nall")
		})
		asks(t, c, r, "GET", "/first", "")
		resp, _, err := asks(t, c, r, "GET", "/end", "")
		want, times := http.StatusBadGateway, int32(1)
		if again {
			want, times = http.StatusOK, 2
		}
		if err != nil || resp.StatusCode != want || asked.Load() != times {
			t.Errorf("after %q: %s, asked %d times, %v", part, resp.Status, asked.Load(), err)
		}
	}
}

// A kept connection that goes on as it should is used again.
func TestKeptConnectionsAreUsedAgain(t *testing.T) {
	var from []string
	c, r := answering(t, func(c net.Conn, r *http.Request) {
		from = append(from, c.RemoteAddr().String())
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	for range 5 {
		asks(t, c, r, "GET", "/x", "X: "+strings.Repeat("x", 5000)+"\r\n")
	}
	for _, f := range from {
		if f != from[0] {
			t.Fatalf("requests came from %v", from)
		}
	}
}

// A record of which only the beginning has come is seen.
func TestWireKnowsWhereRecordsEnd(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	w := &wire{Conn: near, records: true}
	stream := []byte{23, 3, 3, 0, 2, 'a', 'b', 22, 3, 3, 1, 0}
	go far.Write(append(stream, make([]byte, 256)...))
	at := map[int]bool{7: true, 7 + 5 + 256: true}
	for i := 1; i <= 7+5+256; i++ {
		if _, err := io.ReadFull(w, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if w.atEnd() != at[i] {
			t.Errorf("after %d bytes: %v", i, w.atEnd())
		}
	}
}

// Who leaves a silent answer is missed, also after the deadline of the last
// read has passed.
func TestWhoLeavesALongPollIsMissed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	gone := make(chan struct{})
	k := newLooker(nil, newVisitConn(server, &visit{}), func() { close(gone) })
	server.SetReadDeadline(time.Now()) // as after a poll that was longer than idleTimeout
	k.watch()
	time.Sleep(3 * watchAfter)
	client.Close()
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Error("who asked has gone, and nobody noticed")
	}
	k.unwatch()
}

// Ending a watch takes no time, whenever it comes.
func TestWatchEndsWhenTheAnswerDoes(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	k := newLooker(nil, newVisitConn(near, &visit{}), func() { t.Error("nobody has gone") })
	for i := range 40 {
		k.watch()
		time.Sleep(watchAfter - time.Millisecond + time.Duration(i)*50*time.Microsecond)
		ended := make(chan struct{})
		go func() { k.unwatch(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Fatal("the watch goes on")
		}
	}
}
