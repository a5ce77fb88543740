package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/net/netutil"

	"github.com/carrel-dev/carrel"
)

// Sockets were created inside a desk's network namespace. The door takes them
// over and closes them, whatever Attach returns.
type Sockets struct {
	TCP       *os.File // listening stream socket on 127.0.0.1: captured connections
	DNS       *os.File // datagram socket on 127.0.0.1
	DNSTCP    *os.File // listening stream socket beside it
	Route     *os.File // NETLINK_ROUTE
	Netfilter *os.File // NETLINK_NETFILTER; nil where it cannot be had
	// Listen opens a further listening stream socket inside, until the
	// program starts.
	Listen func(addr string) (*os.File, error)
}

// Attach captures the desk's network through the sockets that were created
// inside. When it returns nil the rules are in force and everything is
// answered; on an error the desk must not start. ctx bounds Attach only.
func (d *Door) Attach(ctx context.Context, s Sockets) error {
	defer closeFiles(s.TCP, s.DNS, s.DNSTCP, s.Route, s.Netfilter)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("attaching the desk's network: %w", err)
	}
	if s.TCP == nil || s.DNS == nil || s.DNSTCP == nil || s.Route == nil {
		return errors.New("attaching the desk's network: a socket is missing")
	}
	if err := d.attach(s); err != nil {
		d.Close()
		return fmt.Errorf("attaching the desk's network: %w", err)
	}
	return nil
}

func (d *Door) attach(s Sockets) error {
	capturing, err := net.FileListener(s.TCP)
	if err != nil {
		return fmt.Errorf("capture socket: %w", err)
	}
	d.onClose(capturing.Close)
	dnsConn, err := net.FilePacketConn(s.DNS)
	if err != nil {
		return fmt.Errorf("resolver socket: %w", err)
	}
	d.onClose(dnsConn.Close)
	dnsListener, err := net.FileListener(s.DNSTCP)
	if err != nil {
		return fmt.Errorf("resolver stream socket: %w", err)
	}
	d.onClose(dnsListener.Close)
	if err := d.route(s.Route); err != nil {
		return err
	}
	ports := capturePorts{portOf(capturing.Addr()), portOf(dnsConn.LocalAddr()), portOf(dnsListener.Addr()), d.rules().Ports()}
	if err := d.installRules(s, ports); err != nil {
		return err
	}
	d.run(d.web.run)
	d.serveNames(dnsConn, dnsListener)
	d.accept(capturing, originalDestination)
	return nil
}

func (d *Door) route(f *os.File) error {
	s, err := adoptNetlink(f)
	if err != nil {
		return err
	}
	return errors.Join(routeHome(s), s.close())
}

// installRules captures by netfilter, or port by port where that cannot be
// had, and remembers which it was.
func (d *Door) installRules(s Sockets, ports capturePorts) error {
	if s.Netfilter == nil {
		return d.capturePortByPort(s, "the desk has no netfilter socket")
	}
	nl, err := adoptNetlink(s.Netfilter)
	if err != nil {
		return err
	}
	told := capture(nl, ports, true) == nil
	if told {
		told = listenRefused(nl) == nil
	} else if err := capture(nl, ports, false); err != nil {
		return errors.Join(d.capturePortByPort(s, err.Error()), nl.close())
	}
	reading := make(chan struct{})
	d.onClose(func() error { return d.finishRefused(nl, reading) })
	d.enforce(carrel.ControlNames, carrel.Enforced, "DNS answers come from decisions alone", "")
	if !told {
		close(reading)
		d.enforce(carrel.ControlNetwork, carrel.Partly, "captured by nftables; refused ports and datagrams are not recorded", "load the kernel module nfnetlink_log")
		return nil
	}
	d.enforce(carrel.ControlNetwork, carrel.Enforced, "captured by nftables in the desk's own network namespace", "")
	d.run(func() {
		defer close(reading)
		readRefused(nl, d.recordRefused, func() { d.count("refused_gaps") })
	})
	return nil
}

// finishRefused stops hearing of refused packets and says how many were never
// told one by one.
func (d *Door) finishRefused(nl *netlinkSocket, reading <-chan struct{}) error {
	defer nl.close()
	if err := nl.f.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	<-reading
	all, err := countRefused(nl)
	if err != nil {
		d.count("refused_uncounted")
		return err
	}
	told := d.Counts()
	d.add("refused_untold", all-told["refused_tcp"]-told["refused_udp"]-told["refused_other"])
	return nil
}

// capturePortByPort listens on every port that a rule names, on all of the
// addresses that the local default route leads home. The kernel refuses all
// other ports itself, unseen.
func (d *Door) capturePortByPort(s Sockets, why string) error {
	for _, port := range d.rules().Ports() {
		if s.Listen == nil {
			return fmt.Errorf("no netfilter (%s) and no way to listen inside", why)
		}
		f, err := s.Listen(fmt.Sprintf("0.0.0.0:%d", port))
		if err != nil {
			return fmt.Errorf("listening inside on port %d: %w", port, err)
		}
		l, err := net.FileListener(f)
		closeFiles(f)
		if err != nil {
			return fmt.Errorf("listening inside on port %d: %w", port, err)
		}
		d.onClose(l.Close)
		d.accept(l, localDestination)
	}
	const fix = "use a kernel with nf_tables and its nat, redirect and reject expressions"
	d.enforce(carrel.ControlNetwork, carrel.Partly, "one listener per granted port; other ports are refused but not recorded ("+why+")", fix)
	d.enforce(carrel.ControlNames, carrel.Partly, "DNS answers come from decisions alone; resolvers other than the desk's are refused", fix)
	return nil
}

func (d *Door) serveNames(conn net.PacketConn, l net.Listener) {
	r := newResolver(d.ctx, d)
	d.run(func() { _ = r.serveUDP(conn) }) // ends with the socket
	d.run(func() { _ = r.serveTCP(netutil.LimitListener(l, maxQueries)) })
}

func portOf(a net.Addr) uint16 {
	switch a := a.(type) {
	case *net.TCPAddr:
		return uint16(a.Port)
	case *net.UDPAddr:
		return uint16(a.Port)
	}
	return 0
}

func closeFiles(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}
