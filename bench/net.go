//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"slices"
	"time"
)

// serve answers every connection: "c" is echoed once, "b" gets bulk.
func serve() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go reply(c)
		}
	}()
	return l, nil
}

const bulk = 512 << 20

func reply(c net.Conn) {
	defer c.Close()
	kind := make([]byte, 1)
	if _, err := io.ReadFull(c, kind); err != nil {
		return
	}
	if kind[0] == 'c' {
		_, _ = c.Write(kind)
		return
	}
	chunk := make([]byte, 1<<20)
	for range bulk / len(chunk) {
		if _, err := c.Write(chunk); err != nil {
			return
		}
	}
}

// connectWork opens connections one after the other, with one round trip
// each, and returns the median and the 90th percentile.
func connectWork(args []string) ([]time.Duration, error) {
	var each []time.Duration
	for range 500 {
		started := time.Now()
		c, err := net.Dial("tcp", args[0])
		if err != nil {
			return nil, err
		}
		b := []byte{'c'}
		if _, err := c.Write(b); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(c, b); err != nil {
			return nil, err
		}
		_ = c.Close()
		each = append(each, time.Since(started))
	}
	slices.Sort(each)
	return []time.Duration{each[len(each)/2], each[len(each)*9/10]}, nil
}

func bulkWork(args []string) ([]time.Duration, error) {
	c, err := net.Dial("tcp", args[0])
	if err != nil {
		return nil, err
	}
	defer c.Close()
	started := time.Now()
	if _, err := c.Write([]byte{'b'}); err != nil {
		return nil, err
	}
	if n, err := io.Copy(io.Discard, c); err != nil || n != bulk {
		return nil, fmt.Errorf("%d of %d bytes: %w", n, int64(bulk), err)
	}
	return []time.Duration{time.Since(started)}, nil
}

// net measures connections and bulk through the capture beside direct ones,
// to a server on this machine.
func (b *bench) net() error {
	l, err := serve()
	if err != nil {
		return err
	}
	defer l.Close()
	ws := b.path("net")
	if err := b.tree(ws, 10); err != nil {
		return err
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	ways := []struct {
		name, target string
		wrap         func([]string) once
	}{
		{"direct", addr, b.peers(ws)[0].wrap},
		{"carrel run", "bench.desk:" + port, b.carrel(ws, "--host-service", "bench="+addr)},
	}
	samples := make([][3]sample, len(ways))
	for range max(3, b.o.n/4) {
		for i, way := range ways {
			conn, err := figures(way.wrap([]string{b.self, "work", "connect", way.target}))
			if err != nil {
				return fmt.Errorf("%s: %w", way.name, err)
			}
			whole, err := figures(way.wrap([]string{b.self, "work", "bulk", way.target}))
			if err != nil {
				return fmt.Errorf("%s: %w", way.name, err)
			}
			samples[i][0] = append(samples[i][0], conn[0])
			samples[i][1] = append(samples[i][1], conn[1])
			samples[i][2] = append(samples[i][2], bulk/1048576/(whole[0]/1000))
		}
	}
	t := table{Title: "Network, a server on this machine", Columns: []string{"new connection ms", "p90", "added ms", "bulk MiB/s", "bulk x"}}
	for i, way := range ways {
		s := samples[i]
		t.Rows = append(t.Rows, row{Name: way.name, Figures: map[string]float64{
			"new connection ms": s[0].median(), "p90": s[1].median(), "added ms": s[0].median() - samples[0][0].median(),
			"bulk MiB/s": s[2].median(), "bulk x": s[2].median() / samples[0][2].median(),
		}})
	}
	b.print(t)
	return nil
}
