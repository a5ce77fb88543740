package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// accept serves the connections of l until it is closed. destination tells
// where a connection was meant to go.
func (d *Door) accept(l net.Listener, destination func(*net.TCPConn) (netip.AddrPort, error)) {
	d.run(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				if d.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
					return
				}
				d.count("accept_failed") // out of descriptors, say: those that are served go on
				time.Sleep(10 * time.Millisecond)
				continue
			}
			select {
			case d.slots <- struct{}{}:
				d.run(func() {
					defer func() { <-d.slots }()
					d.serve(conn.(*net.TCPConn), destination)
				})
			default:
				d.refuseFull(conn.(*net.TCPConn), destination)
			}
		}
	})
}

// refuseFull ends a connection that there is no room for.
func (d *Door) refuseFull(conn *net.TCPConn, destination func(*net.TCPConn) (netip.AddrPort, error)) {
	d.count("refused_full")
	to, err := destination(conn)
	reset(conn)
	if err != nil || d.cfg.OnBreach == nil {
		return
	}
	host := d.names.name(to.Addr())
	if host == "" {
		host = to.Addr().String()
	}
	d.cfg.OnBreach(Breach{Action: d.connection(host, int(to.Port())), Rule: "egress/connections",
		Reason: fmt.Sprintf("the desk has %d connections open, and there may be no more at once", cap(d.slots)),
		Next:   []string{"close some of them"}})
}

// originalDestination asks connection tracking what the redirect replaced.
func originalDestination(c *net.TCPConn) (netip.AddrPort, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var sockaddr [16]byte // struct sockaddr_in: family, port, address
	ctlErr := raw.Control(func(fd uintptr) {
		var m *unix.IPv6Mreq // of x/sys's option structs the one that is large enough
		if m, err = unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, unix.SO_ORIGINAL_DST); err == nil {
			sockaddr = m.Multiaddr
		}
	})
	if err := errors.Join(ctlErr, err); err != nil {
		return netip.AddrPort{}, fmt.Errorf("original destination: %w", err)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(sockaddr[4:8])), binary.BigEndian.Uint16(sockaddr[2:4])), nil
}

// localDestination is where a connection was meant to go if nothing was
// rewritten.
func localDestination(c *net.TCPConn) (netip.AddrPort, error) {
	addr, ok := c.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, errors.New("no local address")
	}
	to := addr.AddrPort()
	return netip.AddrPortFrom(to.Addr().Unmap(), to.Port()), nil
}

// serve decides and carries one captured connection.
func (d *Door) serve(conn *net.TCPConn, destination func(*net.TCPConn) (netip.AddrPort, error)) {
	defer conn.Close()
	d.hold()
	defer d.release()
	to, err := destination(conn)
	if err != nil || to.Addr().IsLoopback() { // the desk speaking to the door itself: never the host's loopback
		d.count("captured_loopback")
		reset(conn)
		return
	}
	host, release := d.names.hold(to.Addr())
	defer release()
	if host == "" {
		host = to.Addr().String()
	}
	a := d.connection(host, int(to.Port()))
	d.count("connections")
	since := d.changes.Load()
	_, err = d.gate.Do(d.ctx, a, func(ctx context.Context, g gate.Grant) (carrel.Outcome, error) {
		ctx, l := d.keep(ctx, &a, since)
		defer l.done()
		out, err := d.carry(ctx, g, l, conn)
		return d.ended(ctx, a, out, err)
	})
	var refusal *gate.Refusal
	switch {
	case errors.As(err, &refusal) && a.Protocol == carrel.ProtoHTTP:
		d.count("refused")
		d.web.serve(d.ctx, &visit{action: a, denial: denialOf(refusal)}, conn, conn)
	case errors.As(err, &refusal):
		d.count("refused")
		reset(conn)
	case err != nil:
		reset(conn)
	}
}

// connection is the action of opening one connection.
func (d *Door) connection(host string, port int) carrel.Action {
	a := d.action(carrel.OpConnect, host, port, d.rules().Protocol(host, port))
	switch s, ok := d.rules().service(host); {
	case ok && s.Port == port:
		a.Service, a.Protocol = s.String(), carrel.ProtoTCP
	case ok: // names nothing of the host: it leads nowhere
		a.Protocol = carrel.ProtoTCP
	case d.model != nil && host == ModelHost:
		a.Service = d.model.behind.Service
	}
	return a
}

// carry is the effect of a connect action: the connection, from its first
// byte to its last. What leaves the host goes through connect, which holds the
// grant against the action.
func (d *Door) carry(ctx context.Context, g gate.Grant, l *live, conn *net.TCPConn) (carrel.Outcome, error) {
	switch p := l.action.Protocol; p {
	case carrel.ProtoHTTP:
		return d.carryHTTP(ctx, g, l, conn, conn)
	case carrel.ProtoTLS, carrel.ProtoTCP:
		return d.carryStream(ctx, g, l, conn)
	default:
		return carrel.Outcome{}, fmt.Errorf("protocol %q cannot be carried", p)
	}
}

// breach reports err, if it is one, and says so in the outcome.
func (d *Door) breach(a carrel.Action, err error) (carrel.Outcome, error) {
	var b *Breach
	if !errors.As(err, &b) {
		return carrel.Outcome{}, err
	}
	d.count("breaches")
	if d.cfg.OnBreach != nil {
		d.cfg.OnBreach(*b)
	}
	return carrel.Outcome{Status: carrel.OutcomeFailed, Facts: map[string]carrel.Text{"rule": carrel.Text(b.Rule), "reason": carrel.Text(b.Reason)}}, err
}

// recordRefused puts a packet that the desk's rules refused before the gate,
// which says no and keeps the record. What it would allow by now was refused
// all the same, and is recorded as something that did not come off.
func (d *Door) recordRefused(p refusedPacket) {
	host := d.names.name(p.to.Addr())
	if host == "" {
		host = p.to.Addr().Unmap().String()
	}
	a := d.connection(host, int(p.to.Port()))
	switch p.protocol {
	case unix.IPPROTO_TCP:
		d.count("refused_tcp")
	case unix.IPPROTO_UDP:
		d.count("refused_udp")
		a.Protocol = "udp"
	default:
		d.count("refused_other")
		a.Protocol = carrel.Protocol(fmt.Sprintf("ip-%d", p.protocol))
	}
	if !d.gate.Judge(d.ctx, a).Allows() {
		return
	}
	shut := &Breach{Action: a, Rule: "egress/port",
		Reason: fmt.Sprintf("%s to %s:%d is allowed by now, and was refused: which ports a desk can reach is settled when its run starts", a.Protocol, a.Host, a.Port),
		Next:   []string{"start a new run"}}
	if OnlyByName(a.Host) {
		shut.Rule, shut.Reason, shut.Next = "egress/ipv6", fmt.Sprintf("%s is an IPv6 address, and a desk connects over IPv4 alone", a.Host), []string{onlyByNameHelp}
	}
	_, _ = d.gate.Do(d.ctx, a, func(context.Context, gate.Grant) (carrel.Outcome, error) { return d.breach(a, shut) }) // a log that fails stops the gate
}
