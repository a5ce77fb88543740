//go:build linux

package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	manyRequests = 100_000
	manyIdle     = 5_000
)

// holdWork goes through the stages at which the parent looks at a proxy's
// memory. It says when it is at one, and goes on when it is told.
func holdWork(args []string) ([]time.Duration, error) {
	c, err := newClient(args)
	if err != nil {
		return nil, err
	}
	told := bufio.NewReader(os.Stdin)
	at := func(stage string) error {
		fmt.Println(stage)
		_, err := told.ReadString('\n')
		return err
	}
	if err := c.many(2*kept, 2_000/kept); err != nil {
		return nil, err
	}
	if err := at("warm"); err != nil {
		return nil, err
	}
	if err := c.many(kept, manyRequests/kept); err != nil {
		return nil, err
	}
	if err := at("requests"); err != nil {
		return nil, err
	}
	for _, stage := range []string{"idle", "again"} {
		idle, err := c.idle()
		if err != nil {
			return nil, err
		}
		if err := at(stage); err != nil {
			return nil, err
		}
		for _, conn := range idle {
			_ = conn.Close()
		}
	}
	return nil, nil
}

// many sends requests on a number of connections.
func (c client) many(connections, each int) error {
	var g errgroup.Group
	for range connections {
		g.Go(func() error {
			conn, r, err := c.dial()
			if err != nil {
				return err
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(time.Hour))
			for range each {
				if err := c.get(conn, r, "/"); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// idle opens connections that have had one request each.
func (c client) idle() ([]net.Conn, error) {
	conns := make([]net.Conn, manyIdle)
	var g errgroup.Group
	g.SetLimit(kept)
	for i := range conns {
		g.Go(func() error {
			conn, r, err := c.dial()
			if err != nil {
				return err
			}
			conns[i] = conn
			return c.get(conn, r, "/")
		})
	}
	return conns, g.Wait()
}

// flat measures what the supervisor holds before and after many requests, and
// while many connections are open.
func (b *bench) flat(ways []way, port, ca string) {
	t := table{Title: "Memory of the door: resident MiB of the supervisor",
		Columns: []string{"before", "after 100,000 requests", "5,000 idle connections", "KiB for each", "5,000 others, after those"}}
	for _, w := range ways {
		r := row{Name: w.name, Missing: w.missing}
		if r.Missing == "" {
			mib, err := stages(w.wrap([]string{b.self, "work", "hold", w.host + ":" + port, w.proxy, ca}))
			if err != nil {
				r.Missing = err.Error()
			}
			r.Figures = map[string]float64{"before": mib["warm"], "after 100,000 requests": mib["requests"], "5,000 idle connections": mib["idle"],
				"KiB for each": (mib["idle"] - mib["requests"]) * 1024 / manyIdle, "5,000 others, after those": mib["again"]}
		}
		t.Rows = append(t.Rows, r)
	}
	b.print(t)
}

// stages looks at a command's resident memory at every stage of holdWork.
func stages(o once) (map[string]float64, error) {
	cmd := exec.Command(o.Args[0], o.Args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stderr = o.Dir, append(os.Environ(), o.Env...), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	mib := map[string]float64{}
	for said := bufio.NewScanner(out); said.Scan(); {
		time.Sleep(2 * time.Second) // until what was asked for is over
		mib[said.Text()] = field(cmd.Process.Pid, "status", "VmRSS:")
		fmt.Fprintln(in)
	}
	return mib, cmd.Wait()
}
