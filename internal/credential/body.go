package credential

import (
	"bufio"
	"context"
	"net/http"
)

// readEncoding refuses a body that is compressed so that nobody can look for
// placeholders in it.
func (r *reading) readEncoding() *fault {
	leases := r.ls.all()
	if len(leases) == 0 || r.req.Body == nil || r.req.Body == http.NoBody {
		return nil
	}
	if _, unread := openerOf(r.req.Header); unread != "" {
		return unreadBody(leases[0], r.host, unread)
	}
	return nil
}

func unreadBody(l *lease, host, why string) *fault {
	return &fault{l.def.Name, ruleUnread, "the body of a request to " + host + " has to be searched for placeholders, and " + why}
}

// watchBody ends the request when a placeholder comes by in its body, also
// inside a compressed one, or its trailer, before it has left whole.
func (r *reading) watchBody(ctx context.Context) {
	req, leases := r.req, r.ls.all()
	if req.Body == nil || req.Body == http.NoBody || len(leases) == 0 {
		return
	}
	all := &texts{}
	for _, l := range leases {
		all.list = append(all.list, l.held.list...)
	}
	ctx = context.WithoutCancel(ctx)
	found := func(where string, in func(*lease) bool) error {
		for _, l := range leases {
			if in(l) {
				return r.ls.refuse(ctx, r.action(l.def.Name, misplaced(l, where)))
			}
		}
		return nil
	}
	look := func(b []byte) error {
		return found("in the body", func(l *lease) bool { return l.held.has(b) })
	}
	s := &stream{Closer: req.Body, from: req.Body, texts: all, look: look}
	s.end = func() error {
		for name, values := range req.Trailer {
			for _, v := range append(values, name) {
				if err := found("in the trailer", func(l *lease) bool { return l.in(v) }); err != nil {
					return err
				}
			}
		}
		return nil
	}
	req.Body, req.GetBody = s, nil
	if open, _ := openerOf(req.Header); open != nil {
		unread := func(err error) error {
			f := unreadBody(leases[0], r.host, err.Error())
			return r.ls.refuse(ctx, r.action(f.name, f))
		}
		req.Body = &packed{Closer: s, in: &intake{Reader: bufio.NewReader(s)}, open: open, most: maxUnpacked, texts: all, look: look, unread: unread}
	}
}
