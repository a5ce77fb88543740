package egress

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// sink is a server that counts what it is sent and says nothing.
func sink(t *testing.T) (addr string, got *atomic.Int64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 64<<10)
				for {
					n, err := c.Read(b)
					got.Add(int64(n))
					if err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String(), got
}

// sinkDesk is a desk where example.com, by TLS and on port 5000 by TCP, is a
// sink under one budget each.
func sinkDesk(t *testing.T, upload int64) (*testDesk, *atomic.Int64) {
	addr, got := sink(t)
	return newDesk(t, setup{
		grants: Grants{Rules: []Rule{{Host: "example.com", Upload: upload},
			{Host: "example.com", Ports: []int{5000}, Protocol: "tcp", Upload: upload}}},
		addresses: map[string][]string{"example.com": {public}},
		dial:      map[string]string{public + ":443": addr, public + ":5000": addr},
	}), got
}

// A ClientHello has room for what is to be sent away, and costs nothing to
// repeat.
func TestAttackUploadInClientHellos(t *testing.T) {
	const budget = 10_000
	d, got := sinkDesk(t, budget)
	hello := withExtension(clientHello(t, "example.com"), 21, make([]byte, 4000))
	for range 6 {
		c := d.connect("example.com", "443")
		c.SetDeadline(time.Now().Add(time.Second))
		_, _ = c.Write(hello) // the last ones are reset
		if half, ok := c.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		_, _ = c.Read(make([]byte, 1))
		c.Close()
	}
	d.wantBreach("egress/upload")
	if n := got.Load(); n == 0 || n > budget {
		t.Errorf("%d bytes arrived", n)
	}
}

// Connections that move bulk at the same time share what they may send.
func TestAttackUploadOnManyConnections(t *testing.T) {
	const budget = 1 << 20
	d, got := sinkDesk(t, budget)
	var conns []net.Conn
	for range 16 {
		c := d.connect("example.com", "5000")
		defer c.Close()
		conns = append(conns, c)
		c.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = c.Write(make([]byte, copyChunk+1000))
	}
	eventually(t, "the first pieces", func() bool { return got.Load() >= 16*copyChunk })
	for range 8 {
		for _, c := range conns {
			_, _ = c.Write(make([]byte, 50_000)) // some are reset by now
		}
	}
	d.wantBreach("egress/upload")
	if n := got.Load(); n > budget {
		t.Errorf("%d bytes arrived", n)
	}
}

// The bound of a run holds for what its model is sent, too.
func TestUploadToTheModelIsBudgeted(t *testing.T) {
	e := &endpoint{}
	srv := httptest.NewServer(e)
	defer srv.Close()
	d := modelDesk(t, srv, Config{Upload: 50_000}, nil)
	post := func(size int) (int, string) {
		resp, err := d.client().Post("http://model.desk/v1/messages", "text/plain", strings.NewReader(strings.Repeat("x", size)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	if status, body := post(30_000); status != http.StatusOK {
		t.Errorf("within the bound: %d %s", status, body)
	}
	if status, body := post(30_000); status != http.StatusForbidden || !strings.Contains(body, `"rule":"egress/upload"`) {
		t.Errorf("beyond the bound: %d %s", status, body)
	}
	d.wantBreach("egress/upload")
	if len(e.body) != 1 {
		t.Errorf("the endpoint was sent %d requests", len(e.body))
	}
}
