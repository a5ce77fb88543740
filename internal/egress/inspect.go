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
func (d *Door) carryInspected(ctx context.Context, g gate.Grant, a carrel.Action, conn *net.TCPConn, h hello) (carrel.Outcome, error) {
	if d.cfg.Authority == nil {
		return d.breach(a, &Breach{Action: a, Rule: "egress/inspection",
			Reason: fmt.Sprintf("what is said to %s has to be read, and the run has no authority to do so", a.Host),
			Next:   []string{"start a new run"}})
	}
	inside := tls.Server(&earlyConn{Conn: conn, early: h.raw}, d.cfg.Authority.config(a.Host))
	within, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	if err := inside.HandshakeContext(within); err != nil {
		if refusesAuthority(err) {
			err = d.pinned(a, err)
		}
		return d.breach(a, err)
	}
	return d.carryHTTP(ctx, g, a, inside, conn)
}

// pinned says what became of a client that accepts certificates of its own
// choice only.
func (d *Door) pinned(a carrel.Action, err error) *Breach {
	rule, _ := d.rules().Match(a.Host, a.Port)
	why := "the rule " + rule.String() + " decides by request"
	out := fmt.Sprintf("for a client that pins its certificate, a person may let this host pass unread, with a rule without methods and paths: egress: [{host: %s}]", a.Host)
	if !d.rules().Exact(a.Host, a.Port) {
		why, out = "a credential is bound to it", "for a client that pins its certificate, take the credential off this host"
	}
	return &Breach{Action: a, Rule: "egress/pinned", cause: err,
		Reason: fmt.Sprintf("the client did not accept the certificate of this run for %s, whose TLS is read because %s (%v)", a.Host, why, err),
		Next:   []string{"let the client trust the system's certificates (SSL_CERT_FILE names them)", out}}
}
