package credential

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// Outgoing prepares a request that is about to be sent to a destination, both
// canonical, over TLS if its URL says https: placeholders where they belong
// are replaced by the real credentials, in place, each as an action of its own
// that is durable before. An error means that the request must not be sent; it
// is a *gate.Refusal where a rule stopped it. The body is watched while it is
// sent: a placeholder in it ends it with such an error.
func (ls *Leases) Outgoing(ctx context.Context, host string, port int, req *http.Request) error {
	r := &reading{ls: ls, host: host, port: port, req: req, uri: req.URL.RequestURI()}
	uses, f := r.read()
	if f != nil {
		return ls.refuse(ctx, r.action(f.name, f))
	}
	for _, u := range uses {
		if err := ls.use(ctx, r.action(u.lease.def.Name, nil), u); err != nil {
			return err
		}
	}
	if len(uses) > 0 {
		// In parts, an answer that repeats the key would show it piece by piece.
		req.Header.Del("Range")
		req.Header.Del("If-Range")
	}
	if ls.Bound(host, port) {
		// What comes back has to be read.
		req.Header.Set("Accept-Encoding", "identity")
		req.Header.Del("Sec-WebSocket-Extensions")
	}
	r.watchBody(ctx)
	return nil
}

// use puts one credential in its place.
func (ls *Leases) use(ctx context.Context, a carrel.Action, u use) error {
	_, err := ls.gate.Do(ctx, a, func(ctx context.Context, g gate.Grant) (carrel.Outcome, error) {
		return carrel.Outcome{}, u.place(ctx, g, a)
	})
	return err
}

// use is a placeholder where it belongs.
type use struct {
	lease *lease
	put   func(secret string)
}

// place asks for the secret of a, which g must cover, and puts it in.
func (u use) place(ctx context.Context, g gate.Grant, a carrel.Action) error {
	if err := g.Covers(a); err != nil {
		return err
	}
	secret, err := u.lease.secret(ctx, g, a)
	if err != nil {
		return err
	}
	u.put(secret)
	return nil
}

// fault is why a request must not be sent: a rule of ruleHelp, and which
// credential it is about.
type fault struct{ name, rule, why string }

// action describes the request; with a fault it is one that is refused.
func (r *reading) action(name string, f *fault) carrel.Action {
	a := r.ls.action(name)
	a.Host, a.Port, a.Protocol = r.host, r.port, carrel.ProtoHTTP
	if r.secure() {
		a.Protocol = carrel.ProtoTLS
	}
	a.Method, a.URL = r.req.Method, carrel.Text(r.uri)
	if f != nil {
		a.Reason = carrel.Text(f.rule + ": " + f.why)
	}
	return a
}

// secure reports whether the request goes over TLS.
func (r *reading) secure() bool {
	return r.req.URL.Scheme == "https" || r.req.URL.Scheme == "" && r.req.TLS != nil
}

// same reports whether the request is for the destination and nothing else.
func (r *reading) same() bool {
	for _, authority := range []string{r.req.Host, r.req.URL.Host} {
		if authority == "" {
			continue
		}
		host, port, err := net.SplitHostPort(authority)
		if err != nil {
			host, port = strings.Trim(authority, "[]"), ""
		}
		if !strings.EqualFold(strings.TrimSuffix(host, "."), r.host) || port != "" && port != strconv.Itoa(r.port) {
			return false
		}
	}
	return true
}

// expired reports whether a lease has ended.
func (l *lease) expired() bool { return time.Now().After(l.expires) }
