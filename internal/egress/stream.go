package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// helloTimeout bounds how long a client may take to say what a tls or http
// rule needs to know.
const helloTimeout = 15 * time.Second

// carryStream passes a tls or tcp connection through.
func (d *Door) carryStream(ctx context.Context, g gate.Grant, l *live, conn *net.TCPConn) (carrel.Outcome, error) {
	a := *l.action
	var h hello
	if a.Protocol == carrel.ProtoTLS {
		var err error
		if h, err = d.checkHello(ctx, a, conn); err != nil {
			return d.breach(a, err)
		}
		if d.inspects(a) {
			return d.carryInspected(ctx, g, l, conn, h)
		}
	}
	sent := d.allowance(l.action)
	if over := sent.spend(int64(len(h.raw))); over != nil { // there is room for much in a ClientHello
		return d.breach(a, over)
	}
	outside, addr, err := d.connect(ctx, g, a)
	if err != nil {
		return d.breach(a, unreachable(ctx, a, err))
	}
	defer outside.Close()
	l.holds(func() bool {
		return d.leadsTo(a, addr) && (a.Protocol == carrel.ProtoTCP || !d.inspects(a) && d.judgeHello(a, h) == nil)
	})
	if _, err := outside.Write(h.raw); err != nil {
		return carrel.Outcome{}, fmt.Errorf("passing the first bytes on: %w", err)
	}
	out, in, err := relay(ctx, conn, outside, sent)
	out += int64(len(h.raw))
	d.add("bytes_out", out)
	d.add("bytes_in", in)
	return d.broke(a, carrel.Outcome{
		Facts:  map[string]carrel.Text{"address": carrel.Text(outside.RemoteAddr().String())},
		Counts: map[string]int64{"bytes_out": out, "bytes_in": in},
	}, err)
}

// checkHello reads the ClientHello and holds it against the destination.
func (d *Door) checkHello(ctx context.Context, a carrel.Action, conn *net.TCPConn) (hello, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := conn.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return hello{}, err
	}
	h, err := readHello(conn)
	if ctx.Err() != nil {
		return h, context.Cause(ctx)
	}
	if err != nil {
		return h, &Breach{Action: a, Rule: "egress/not-tls",
			Reason: fmt.Sprintf("the connection to %s was allowed for TLS, and %v", a.Host, err),
			Next:   []string{fmt.Sprintf("if another protocol is meant: --allow %s:%d/tcp", a.Host, a.Port)}}
	}
	if b := d.judgeHello(a, h); b != nil {
		return h, b
	}
	return h, conn.SetReadDeadline(time.Time{})
}

// judgeHello returns how h breaks what was allowed, or nil. A name must be
// asked for by that name; an address, by none.
func (d *Door) judgeHello(a carrel.Action, h hello) *Breach {
	rule, _ := d.rules().Match(a.Host, a.Port)
	_, err := netip.ParseAddr(a.Host)
	literal := err == nil
	asked := "no name"
	if h.sni != "" {
		asked = strconv.Quote(shorten(h.sni))
	}
	switch {
	case h.ech && rule.ECH != ECHAllow && !d.inspects(a): // where the door itself answers, only the outer name counts
		return &Breach{Action: a, Rule: "egress/ech",
			Reason: fmt.Sprintf("the ClientHello to %s hides its server name (ECH), so that it cannot be held against the rule", a.Host),
			Next:   []string{"switch ECH off in the client, or set ech: allow on the rule for this host"}}
	case literal && h.sni != "" && h.sni != a.Host, !literal && h.sni != a.Host:
		return &Breach{Action: a, Rule: "egress/server-name",
			Reason: fmt.Sprintf("the connection is to %s, its ClientHello asks for %s", a.Host, asked),
			Next:   []string{"connect by the name that is meant"}}
	}
	return nil
}

// unreachable makes a failure to connect outside known: inside it looks like
// any other reset. What the connection was refused for goes before.
func unreachable(ctx context.Context, a carrel.Action, err error) error {
	if errors.As(err, new(*Breach)) || ctx.Err() != nil {
		return err
	}
	return &Breach{Action: a, Rule: "egress/unreachable", cause: err, Next: reachHelp(err),
		Reason: fmt.Sprintf("%s:%d is allowed and cannot be reached from this host: %s", a.Host, a.Port, plainly(err))}
}
