package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

const (
	// maxHeader bounds the header of one request.
	maxHeader = 256 << 10
	// idleTimeout is how long a connection may wait for its next request:
	// longer than the pools of usual clients and servers keep theirs.
	idleTimeout = 5 * time.Minute
)

// web speaks HTTP with the desk, on connections that were captured for an
// http rule, for the model door, or only to say why they are refused. Requests
// are read and written by Go's own server and client.
type web struct {
	door   *Door
	server *http.Server
	conns  chan net.Conn // from serve to the server
	stop   context.CancelFunc
	ctx    context.Context
}

// visit is one captured connection that speaks HTTP.
type visit struct {
	action   carrel.Action
	denial   *denial      // not nil: the answer to whatever is asked
	handler  http.Handler // carries requests that were checked
	finished chan struct{}
	in, out  atomic.Int64 // bytes to and from the desk
}

// visitConn ties a connection to its visit. What comes from the desk passes
// framing.
type visitConn struct {
	net.Conn
	visit   *visit
	framing framing
}

func newVisitConn(c net.Conn, v *visit) *visitConn {
	vc := &visitConn{Conn: c, visit: v}
	vc.framing.in = c
	return vc
}

// Read counts what comes from the desk.
func (c *visitConn) Read(b []byte) (int, error) {
	n, err := c.framing.Read(b)
	c.visit.out.Add(int64(n))
	return n, err
}

// Write counts what goes to the desk.
func (c *visitConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.visit.in.Add(int64(n))
	return n, err
}

type visitKey struct{}

func newWeb(d *Door) *web {
	w := &web{door: d, conns: make(chan net.Conn)}
	w.ctx, w.stop = context.WithCancel(context.Background())
	only1 := new(http.Protocols)
	only1.SetHTTP1(true)
	w.server = &http.Server{
		Handler: http.HandlerFunc(w.handle), Protocols: only1,
		ReadHeaderTimeout: helloTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: log.New(io.Discard, "", 0), // what the desk does wrong is answered, not logged
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, visitKey{}, c.(*visitConn))
		},
		ConnState: func(c net.Conn, s http.ConnState) {
			if s == http.StateClosed || s == http.StateHijacked {
				close(c.(*visitConn).visit.finished)
			}
		},
	}
	return w
}

// run serves until close.
func (w *web) run() { _ = w.server.Serve(&handedOver{w}) }

func (w *web) close() {
	w.stop()
	_ = w.server.Close() // closing what is thrown away
}

// serve returns when the last request on conn has been answered and the
// connection is closed, or soon after ctx ended.
func (w *web) serve(ctx context.Context, v *visit, conn *net.TCPConn) {
	v.finished = make(chan struct{})
	stop := context.AfterFunc(ctx, func() { reset(conn) })
	defer stop()
	select {
	case w.conns <- newVisitConn(conn, v):
		<-v.finished
	case <-ctx.Done():
	case <-w.ctx.Done():
	}
}

// handedOver is a listener whose connections come from serve.
type handedOver struct{ w *web }

// Accept implements net.Listener.
func (l *handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-l.w.conns:
		return c, nil
	case <-l.w.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *handedOver) Close() error { l.w.stop(); return nil }

// Addr implements net.Listener.
func (l *handedOver) Addr() net.Addr { return &net.TCPAddr{} }

func (w *web) handle(rw http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(visitKey{}).(*visitConn)
	v := c.visit
	if v.denial != nil {
		v.denial.write(rw)
		return
	}
	if why := c.framing.why.Load(); why != nil && r.Method == refusedMethod {
		w.door.refuseRequest(v.action, rw, &Breach{Action: v.action, Rule: "egress/framing", Reason: "the request can be read in two ways: " + *why})
		return
	}
	if b := checkRequest(v.action, r); b != nil {
		w.door.refuseRequest(v.action, rw, b)
		return
	}
	v.handler.ServeHTTP(rw, r)
}

// refuseRequest answers a request that is not what its connection is for, and
// reports it.
func (d *Door) refuseRequest(a carrel.Action, w http.ResponseWriter, b *Breach) {
	_, _ = d.breach(a, b)
	status := http.StatusForbidden
	if b.Rule == "egress/framing" {
		status = http.StatusBadRequest
	}
	newDenial(status, a.ID, b.Rule, b.Reason, b.Next).write(w)
}

// refuseTarget answers a request whose path or query has no one meaning.
func (d *Door) refuseTarget(a carrel.Action, w http.ResponseWriter, err error) {
	d.refuseRequest(a, w, &Breach{Action: a, Rule: "egress/path", Reason: "what is asked for can be read in two ways: " + err.Error(),
		Next: []string{"ask for the plain path"}})
}

// checkRequest holds a request against the destination of its connection.
func checkRequest(a carrel.Action, r *http.Request) *Breach {
	fail := func(rule, reason string) *Breach { return &Breach{Action: a, Rule: rule, Reason: reason} }
	if r.Method == http.MethodConnect || r.URL.Host == "" && !strings.HasPrefix(r.URL.Path, "/") && r.URL.Path != "*" {
		return fail("egress/form", "this is no proxy: send requests to the host itself")
	}
	if r.URL.IsAbs() && r.URL.Scheme != "http" {
		return fail("egress/form", fmt.Sprintf("a request for %s came over a plain http connection", shorten(r.URL.Scheme)))
	}
	if r.Header.Get("Upgrade") != "" {
		return fail("egress/upgrade", "an http rule carries requests only, not an upgrade to another protocol; name it with protocol: tcp")
	}
	host, port, hasPort := cutPort(r.Host)
	name, err := CanonicalHost(host)
	if err != nil || name != a.Host || hasPort && port != strconv.Itoa(a.Port) || !hasPort && a.Port != 80 {
		return fail("egress/host-header", fmt.Sprintf("the connection is to %s:%d, the request is for %q", a.Host, a.Port, shorten(r.Host)))
	}
	return nil
}

// carryHTTP serves one connection to an http destination.
func (d *Door) carryHTTP(ctx context.Context, g gate.Grant, a carrel.Action, conn *net.TCPConn) (carrel.Outcome, error) {
	v := &visit{action: a, handler: d.model}
	if d.model == nil || a.Host != ModelHost {
		s := newSite(d, g, a)
		defer s.close()
		v.handler = s
	}
	d.web.serve(ctx, v, conn)
	d.add("bytes_out", v.out.Load())
	d.add("bytes_in", v.in.Load())
	return carrel.Outcome{Counts: map[string]int64{"bytes_out": v.out.Load(), "bytes_in": v.in.Load()}}, nil
}

// answerError tells the desk what went wrong with a.
func (d *Door) answerError(a carrel.Action, w http.ResponseWriter, err error) {
	var refusal *gate.Refusal
	var b *Breach
	switch {
	case errors.As(err, &refusal):
		denialOf(refusal).write(w)
	case errors.As(err, &b):
		newDenial(http.StatusForbidden, a.ID, b.Rule, b.Reason, b.Next).write(w)
	default:
		newDenial(http.StatusBadGateway, a.ID, "egress/unreachable", fmt.Sprintf("%s:%d: %s", a.Host, a.Port, plainly(err)), nil).write(w)
	}
}

// plainly says why the outside could not be reached without the addresses of
// the host's own network, which are none of the desk's business. The record
// has them.
func plainly(err error) string {
	var name *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &name):
		return "the host cannot resolve it"
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}
