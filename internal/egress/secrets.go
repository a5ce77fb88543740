package egress

import (
	"context"
	"net/http"
	"net/http/httptrace"
)

// Secrets is what the door asks about requests it inspects. Host is canonical
// (CanonicalHost), and the destination's certificate has been, or will be,
// verified for it before anything is sent. Its methods are called from many
// goroutines at once.
type Secrets interface {
	// Bound reports whether a credential is bound to the destination. Then the
	// door inspects what goes there.
	Bound(host string, port int) bool
	// Outgoing replaces placeholders in req in place, which is what will be
	// sent: method, URL, header and body. An error refuses the request, which
	// must then not be sent; a *gate.Refusal says by which rule. It is called
	// for every request that the door inspects, also to destinations where
	// nothing is bound, within the effect of the request's own action.
	Outgoing(ctx context.Context, host string, port int, req *http.Request) error
	// Incoming removes real values from the header and, as it streams, the
	// body of an answer, in place.
	Incoming(host string, port int, res *http.Response)
}

// withoutInterim is r without the ear of who passes its answer on for interim
// answers (1xx): nobody takes keys out of those, and no client needs them.
func withoutInterim(r *http.Request) *http.Request {
	return r.WithContext(untraced{r.Context()})
}

// untraced is a context without its client trace.
type untraced struct{ context.Context }

// Value implements context.Context.
func (u untraced) Value(key any) any {
	v := u.Context.Value(key)
	if _, ok := v.(*httptrace.ClientTrace); ok {
		return nil
	}
	return v
}
