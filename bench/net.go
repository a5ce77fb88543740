//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
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

// connectWork opens connections one after the other, each with a lookup of the
// name and one round trip, and returns the median and the 90th percentile of
// the whole, and the median of the lookup.
func connectWork(args []string) ([]time.Duration, error) {
	host, port, err := net.SplitHostPort(args[0])
	if err != nil {
		return nil, err
	}
	var each, lookups []time.Duration
	for range 500 {
		started := time.Now()
		addrs, err := net.DefaultResolver.LookupHost(context.Background(), host)
		if err != nil {
			return nil, err
		}
		lookups = append(lookups, time.Since(started))
		if err := roundTrip(net.JoinHostPort(addrs[0], port)); err != nil {
			return nil, err
		}
		each = append(each, time.Since(started))
	}
	slices.Sort(each)
	slices.Sort(lookups)
	return []time.Duration{each[len(each)/2], each[len(each)*9/10], lookups[len(lookups)/2]}, nil
}

func roundTrip(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	b := []byte{'c'}
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err = io.ReadFull(c, b)
	return err
}

// relay passes connections on to target, as plainly as a program can: what
// any way through a second process costs on this machine.
func relay(target string) (net.Listener, error) {
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
			go passOn(c, target)
		}
	}()
	return l, nil
}

func passOn(c net.Conn, target string) {
	defer c.Close()
	out, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer out.Close()
	go func() {
		_, _ = io.Copy(c, out)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(out, c)
	_ = out.(*net.TCPConn).CloseWrite()
}

// syncTime is the median of making one small record durable here, on a disk
// that was idle: every new connection waits for one.
func (b *bench) syncTime() (float64, error) {
	f, err := os.Create(b.path("sync"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var s sample
	for i := range 100 {
		time.Sleep(time.Millisecond)
		if _, err := f.WriteAt(make([]byte, 1500), int64(i)*1500); err != nil {
			return 0, err
		}
		started := time.Now()
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		s = append(s, float64(time.Since(started).Microseconds())/1000)
	}
	return s.median(), nil
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
	plain, err := relay(addr)
	if err != nil {
		return err
	}
	defer plain.Close()
	ways := []struct {
		name, target string
		wrap         func([]string) once
	}{
		{"direct", addr, b.peers(ws)[0].wrap},
		{"a plain relay in between", plain.Addr().String(), b.peers(ws)[0].wrap},
		{"carrel run", "bench.desk:" + port, b.carrel(ws, "--host-service", "bench="+addr)},
	}
	samples := make([][4]sample, len(ways))
	var syncs sample
	for range max(3, b.o.n/4) {
		sync, err := b.syncTime()
		if err != nil {
			return err
		}
		syncs = append(syncs, sync)
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
			samples[i][2] = append(samples[i][2], conn[2])
			samples[i][3] = append(samples[i][3], bulk/1048576/(whole[0]/1000))
		}
	}
	t := table{Title: "Network, a server on this machine", Columns: []string{"new connection ms", "p90", "of it lookup", "added ms", "bulk MiB/s", "bulk x"}}
	for i, way := range ways {
		s := samples[i]
		t.Rows = append(t.Rows, row{Name: way.name, Figures: map[string]float64{
			"new connection ms": s[0].median(), "p90": s[1].median(), "of it lookup": s[2].median(), "added ms": s[0].median() - samples[0][0].median(),
			"bulk MiB/s": s[3].median(), "bulk x": s[3].median() / samples[0][3].median(),
		}})
	}
	t.Rows = append(t.Rows, row{Name: "one durable record alone", Figures: map[string]float64{"added ms": syncs.median()}})
	b.print(t)
	return nil
}
