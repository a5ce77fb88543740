package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

func handedSockets(b *bed) {
	s := b.spec(probePath, "probe", "dial", "tcp:127.0.0.1:53", "udp:127.0.0.1:53", "tcp:127.0.0.9:81")
	var late func(string) (*os.File, error)
	var lateDial func(int) (*os.File, error)
	var got []string
	s.Attach = func(_ context.Context, k sandbox.Sockets) error {
		late, lateDial = k.Listen, k.Dial
		more, err := k.Listen("127.0.0.9:81")
		if err != nil {
			return err
		}
		if _, err := k.Listen("127.0.0.9:81"); err == nil {
			return errors.New("the same address twice")
		}
		if err := connectsInside(k, "127.0.0.9:81"); err != nil {
			return err
		}
		for _, f := range []*os.File{k.TCP, k.DNSTCP, more} {
			l, err := net.FileListener(f)
			if err != nil {
				return err
			}
			got = append(got, l.Addr().String())
			b.t.Cleanup(func() { l.Close() })
		}
		if k.DNS == nil || k.Route == nil {
			return errors.New("sockets are missing")
		}
		for _, f := range []*os.File{k.TCP, k.DNS, k.DNSTCP, k.Route, k.Netfilter, more} {
			if f != nil {
				b.t.Cleanup(func() { f.Close() })
			}
		}
		return nil
	}
	out, errs, exit := b.run(s)
	if exit.Code != 0 || strings.Count(out, " ok\n") != 3 {
		b.t.Errorf("%+v %q %s; listening on %v", exit, out, errs, got)
	}
	if len(got) != 3 || !strings.HasPrefix(got[0], "127.0.0.1:") || got[1] != "127.0.0.1:53" || got[2] != "127.0.0.9:81" {
		b.t.Errorf("listening on %v", got)
	}
	if _, err := late("127.0.0.9:82"); err == nil {
		b.t.Error("Listen works after the program's start")
	}
	if _, err := lateDial(unix.AF_INET); err == nil {
		b.t.Error("Dial works after the program's start")
	}
}

// connectsInside connects a socket of the desk from outside, to a listener
// that only the desk has.
func connectsInside(k sandbox.Sockets, to string) error {
	at := netip.MustParseAddrPort(to)
	f, err := k.Dial(unix.AF_INET)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.SetNonblock(int(f.Fd()), false); err != nil {
		return err
	}
	err = unix.Connect(int(f.Fd()), &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
	if err != nil {
		return fmt.Errorf("connecting inside: %w", err)
	}
	if c, err := net.DialTimeout("tcp", to, time.Second); err == nil {
		c.Close()
		return errors.New("the host has that listener too")
	}
	return nil
}

func attachFails(b *bed) {
	s := b.spec("/bin/sh", "-c", "echo ran > /home/agent/ran")
	s.Attach = func(_ context.Context, k sandbox.Sockets) error {
		for _, f := range []*os.File{k.TCP, k.DNS, k.DNSTCP, k.Route, k.Netfilter} {
			if f != nil {
				f.Close()
			}
		}
		return errors.New("no rules today")
	}
	if err := b.mustNotStart(s, 125); !strings.Contains(err.Error(), "no rules today") {
		b.t.Error(err)
	}
	if _, err := os.Stat(b.dir + "/home/ran"); err == nil {
		b.t.Error("the program ran")
	}
}
