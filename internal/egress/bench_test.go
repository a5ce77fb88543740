package egress

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
)

// The measure beside these is the same thing over the host's own loopback:
// go test -bench . -run '^$' prints both.

func benchDesk(b *testing.B, server string) (d *testDesk, addr string) {
	d = newDesk(b, setup{
		grants:    Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{5432}, Protocol: carrel.ProtoTCP}}},
		addresses: map[string][]string{"ok.test": {public}},
		dial:      map[string]string{public + ":5432": server},
	})
	addr, err := d.lookup("ok.test")
	if err != nil {
		b.Fatal(err)
	}
	return d, net.JoinHostPort(addr, "5432")
}

func BenchmarkConnectDirect(b *testing.B) {
	server := echoServer(b)
	for b.Loop() {
		c, err := net.Dial("tcp", server)
		if err != nil {
			b.Fatal(err)
		}
		roundTrip(b, c)
	}
}

// BenchmarkConnectCaptured includes the order that is sent to the process
// inside; BenchmarkOrder is that alone.
func BenchmarkConnectCaptured(b *testing.B) {
	d, addr := benchDesk(b, echoServer(b))
	for b.Loop() {
		c, err := d.dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		roundTrip(b, c)
	}
}

func BenchmarkOrder(b *testing.B) {
	d, _ := benchDesk(b, echoServer(b))
	f, err := d.listen("127.0.0.1:7000")
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.FileListener(f)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go serveEach(l, func(c net.Conn) { io.Copy(c, c) })
	for b.Loop() {
		c, err := d.dial("tcp", "127.0.0.1:7000")
		if err != nil {
			b.Fatal(err)
		}
		roundTrip(b, c)
	}
}

func roundTrip(b *testing.B, c net.Conn) {
	b.Helper()
	var buf [1]byte
	if _, err := c.Write(buf[:]); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(c, buf[:]); err != nil {
		b.Fatal(err)
	}
	c.Close()
}

func BenchmarkBulkDirect(b *testing.B) {
	server := sourceServer(b)
	c, err := net.Dial("tcp", server)
	if err != nil {
		b.Fatal(err)
	}
	drain(b, c)
}

func BenchmarkBulkCaptured(b *testing.B) {
	d, addr := benchDesk(b, sourceServer(b))
	c, err := d.dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	drain(b, c)
}

// sourceServer sends without end.
func sourceServer(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go serveEach(l, func(c net.Conn) {
		for buf := make([]byte, 1<<20); ; {
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	})
	return l.Addr().String()
}

func drain(b *testing.B, c net.Conn) {
	defer c.Close()
	buf := make([]byte, 1<<20)
	b.SetBytes(1 << 20)
	for b.Loop() {
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAttach is what capturing adds to the start of a run.
func BenchmarkAttach(b *testing.B) {
	rules, err := NewRules(Grants{Rules: []Rule{{Host: "ok.test"}, {Host: "*.ok.test", Ports: []int{80, 443, 8443}}}})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		n := newNamespace(b)
		s := n.sockets()
		b.StartTimer()
		attachOnce(b, rules, s)
		b.StopTimer()
		n.conn.Close()
		b.StartTimer()
	}
}

func attachOnce(b *testing.B, rules *Rules, s Sockets) {
	g, _ := gatetest.AllowAll()
	d, err := New(g, Config{Rules: rules})
	if err != nil {
		b.Fatal(err)
	}
	if err := d.Attach(context.Background(), s); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	d.Close()
	b.StartTimer()
}
