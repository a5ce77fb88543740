package egress

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// inspects reports whether the door reads what is said inside the TLS of a
// connection: where a rule or a credential needs it, and nowhere else.
func (d *Door) inspects(a carrel.Action) bool {
	if a.Protocol != carrel.ProtoTLS {
		return false
	}
	return d.rules().Exact(a.Host, a.Port) || d.cfg.Secrets != nil && d.cfg.Secrets.Bound(a.Host, a.Port)
}

// carryInspected ends the desk's TLS with a certificate of the run's
// authority, and carries the requests inside.
func (d *Door) carryInspected(ctx context.Context, g gate.Grant, l *live, conn *net.TCPConn, h hello) (carrel.Outcome, error) {
	a := *l.action
	if !d.cfg.Authority.covers(a.Host) {
		return d.breach(a, &Breach{Action: a, Rule: "egress/inspection",
			Reason: fmt.Sprintf("what is said to %s has to be read, and the authority of this run is not good for it", a.Host),
			Next:   []string{"start a new run"}})
	}
	shown := false
	inside := tls.Server(&earlyConn{Conn: conn, early: h.raw}, d.cfg.Authority.config(a.Host, &shown))
	within, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	if err := inside.HandshakeContext(within); err != nil {
		if ctx.Err() == nil {
			err = d.badHandshake(a, shown, err)
		}
		return d.breach(a, err)
	}
	return d.carryHTTP(ctx, g, l, inside, conn)
}

// badHandshake says why no request could be read. A client that gives up when
// it is shown the certificate of this run accepts others only: how it says so
// differs (an alert in the clear looks like a broken record).
func (d *Door) badHandshake(a carrel.Action, shown bool, err error) *Breach {
	if !shown {
		return &Breach{Action: a, Rule: "egress/handshake", cause: err, Reason: fmt.Sprintf("the client's TLS to %s cannot be read: %v", a.Host, err)}
	}
	rule, _ := d.rules().Match(a.Host, a.Port)
	why := "the rule " + rule.String() + " decides by request"
	out := fmt.Sprintf("for a client that pins its certificate, a person may let this host pass unread, with a rule without methods and paths: egress: [{host: %s}]", a.Host)
	if !d.rules().Exact(a.Host, a.Port) {
		why, out = "a credential is bound to it", "for a client that pins its certificate, take the credential off this host"
	}
	return &Breach{Action: a, Rule: "egress/pinned", cause: err,
		Reason: fmt.Sprintf("the client gave up when it was shown the certificate of this run for %s, whose TLS is read because %s", a.Host, why),
		Next:   []string{"let the client trust the system's certificates (SSL_CERT_FILE names them)", out}}
}
