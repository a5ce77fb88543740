package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

const (
	// maxHeader bounds the header of one request.
	maxHeader = 64 << 10
	// idleTimeout is how long a connection may wait for its next request:
	// longer than the pools of usual clients and servers keep theirs.
	idleTimeout = 5 * time.Minute
	// maxUnread bounds what one HTTP/2 connection of the desk has sent that is
	// not passed on yet.
	maxUnread = 256 << 10
)

// web speaks HTTP with the desk, on connections that were captured for an
// http rule, for the model door, or only to say why they are refused. Requests
// are read and written by Go's own server and client, and those that only look
// by a looker, with the same parser.
type web struct {
	door  *Door
	http1 handedOver
	http2 handedOver
	stop  context.CancelFunc
	ctx   context.Context
}

// visit is one captured connection that speaks HTTP.
type visit struct {
	action   carrel.Action
	denial   *denial      // not nil: the answer to whatever is asked
	handler  http.Handler // carries requests that were checked
	http2    bool
	finished chan struct{}
	once     sync.Once
	in, out  atomic.Int64 // bytes to and from the desk
}

// finish says that nobody uses the connection any more.
func (v *visit) finish() { v.once.Do(func() { close(v.finished) }) }

// visitConn ties a connection to its visit. What comes from the desk passes
// framing.
type visitConn struct {
	net.Conn
	visit   *visit
	framing framing
	sent    atomic.Pointer[allowance] // of another protocol that was switched to
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
	if sent := c.sent.Load(); sent != nil {
		if over := sent.spend(int64(n)); over != nil {
			return 0, over
		}
	}
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
	w := &web{door: d}
	w.ctx, w.stop = context.WithCancel(context.Background())
	one, two := new(http.Protocols), new(http.Protocols)
	one.SetHTTP1(true)
	two.SetUnencryptedHTTP2(true) // the door has undone the encryption
	w.http1 = handedOver{w.ctx, make(chan net.Conn), w.server(one)}
	w.http2 = handedOver{w.ctx, make(chan net.Conn), w.server(two)}
	return w
}

func (w *web) server(protocols *http.Protocols) *http.Server {
	return &http.Server{
		Handler: http.HandlerFunc(w.handle), Protocols: protocols, DisableGeneralOptionsHandler: true,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 100, MaxReceiveBufferPerConnection: maxUnread, MaxReceiveBufferPerStream: maxUnread},
		ReadHeaderTimeout: helloTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: log.New(io.Discard, "", 0), // what the desk does wrong is answered, not logged
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, visitKey{}, c.(*visitConn))
		},
		ConnState: func(c net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				c.(*visitConn).visit.finish()
			}
		},
	}
}

// run serves until close.
func (w *web) run() {
	w.door.run(func() { _ = w.http2.server.Serve(&w.http2) })
	_ = w.http1.server.Serve(&w.http1)
}

func (w *web) close() {
	w.stop()
	_ = w.http1.server.Close() // closing what is thrown away
	_ = w.http2.server.Close()
}

// serve returns when the last request on conn has been answered and the
// connection is closed, or soon after ctx ended. conn is what the desk says
// on under, which is a connection itself.
func (w *web) serve(ctx context.Context, v *visit, conn, under net.Conn) {
	v.finished = make(chan struct{})
	stop := context.AfterFunc(ctx, func() { reset(under) })
	defer stop()
	to, c := &w.http1, newVisitConn(conn, v)
	switch {
	case v.http2:
		to = &w.http2
		c.framing.raw.Store(true) // its frames have one reading
	case v.denial == nil && w.looks(ctx, c):
		return
	}
	select {
	case to.conns <- c:
		<-v.finished
	case <-ctx.Done():
	case <-w.ctx.Done():
	}
}

// handedOver is a listener whose connections come from serve.
type handedOver struct {
	ctx    context.Context
	conns  chan net.Conn
	server *http.Server
}

// Accept implements net.Listener.
func (l *handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *handedOver) Close() error { return nil }

// Addr implements net.Listener.
func (l *handedOver) Addr() net.Addr { return &net.TCPAddr{} }

func (w *web) handle(rw http.ResponseWriter, r *http.Request) {
	w.door.hold()
	defer w.door.release()
	c := r.Context().Value(visitKey{}).(*visitConn)
	v := c.visit
	if v.denial != nil {
		v.denial.write(rw, r)
		return
	}
	if why := c.framing.why.Load(); why != nil && r.Method == refusedMethod {
		w.door.refuseRequest(v.action, rw, r, &Breach{Action: v.action, Rule: "egress/framing", Reason: "the request can be read in two ways: " + *why, Next: framingHelp})
		return
	}
	if b := checkRequest(v.action, r); b != nil {
		w.door.refuseRequest(v.action, rw, r, b)
		return
	}
	if !v.http2 {
		defer c.afterSwitch()
	}
	v.handler.ServeHTTP(rw, r)
}

// afterSwitch ends a connection that became another protocol's, which the
// server has let go, when that protocol is done with it.
func (c *visitConn) afterSwitch() {
	if c.framing.raw.Load() {
		c.Close()
		c.visit.finish()
	}
}

// refuseRequest answers a request that is not what its connection is for, and
// reports it.
func (d *Door) refuseRequest(a carrel.Action, w http.ResponseWriter, r *http.Request, b *Breach) {
	_, _ = d.breach(a, b)
	status := http.StatusForbidden
	if b.Rule == "egress/framing" {
		status = http.StatusBadRequest
	}
	newDenial(status, a.ID, b.Rule, b.Reason, b.Next).write(w, r)
}

// refuseTarget answers a request whose path or query has no one meaning. The
// query, where keys may be, is left out of what is told.
func (d *Door) refuseTarget(a carrel.Action, w http.ResponseWriter, r *http.Request, err error) {
	d.refuseRequest(a, w, r, &Breach{Action: a, Rule: "egress/path", Reason: fmt.Sprintf("%q %q can be read in two ways: %v", shorten(r.Method), shorten(r.URL.EscapedPath()), err),
		Next: []string{"ask for the plain path, by its own method"}})
}

// checkRequest holds a request against the destination of its connection.
func checkRequest(a carrel.Action, r *http.Request) *Breach {
	fail := func(rule, reason string) *Breach {
		b := &Breach{Action: a, Rule: rule, Reason: reason}
		switch rule {
		case "egress/host-header":
			b.Next = []string{"send what is for another host or port over a connection to it"}
		case "egress/framing":
			b.Next = framingHelp
		}
		return b
	}
	scheme := schemeOf(a.Protocol)
	if r.Method == http.MethodConnect || r.URL.Host == "" && !strings.HasPrefix(r.URL.Path, "/") && r.URL.Path != "*" {
		return fail("egress/form", "this is no proxy: send requests to the host itself")
	}
	if r.URL.User != nil || r.URL.IsAbs() && r.URL.Host == "" {
		return fail("egress/form", "the first line names a user, or no host")
	}
	if r.URL.IsAbs() && r.URL.Scheme != scheme {
		return fail("egress/form", fmt.Sprintf("a request for %s came over a connection for %s", shorten(r.URL.Scheme), scheme))
	}
	host, port, hasPort := cutPort(r.Host)
	name, err := CanonicalHost(host)
	if err != nil || name != a.Host || hasPort && port != strconv.Itoa(a.Port) || !hasPort && a.Port != usualPort(a.Protocol) {
		return fail("egress/host-header", fmt.Sprintf("the connection is to %s:%d, the request is for %q", a.Host, a.Port, shorten(r.Host)))
	}
	others := r.Header["Host"] // HTTP/2: beside :authority, as in :path
	if r.URL.Host != "" {
		others = append(others, r.URL.Host)
	}
	for _, other := range others {
		if !strings.EqualFold(other, r.Host) {
			return fail("egress/host-header", fmt.Sprintf("the request is for %q and for %q", shorten(r.Host), shorten(other)))
		}
	}
	delete(r.Header, "Host")
	if err := checkFramingNames(r.Header); err != nil {
		return fail("egress/framing", "the request can be read in two ways: "+err.Error())
	}
	return nil
}

// carryHTTP serves one connection to an http destination, or to one whose TLS
// the door has ended. conn is what is said on under.
func (d *Door) carryHTTP(ctx context.Context, g gate.Grant, l *live, conn, under net.Conn) (carrel.Outcome, error) {
	a := *l.action
	v := &visit{action: a}
	switch {
	case d.model != nil && a.Host == ModelHost:
		v.handler = d.model
	case d.cfg.Tools != nil && a.Host == ToolHost:
		v.handler = d.cfg.Tools
	default:
		s := newSite(d, g, l)
		defer s.close()
		v.handler = s
	}
	if c, ok := conn.(*tls.Conn); ok && c.ConnectionState().NegotiatedProtocol == "h2" {
		v.http2 = true
		if s, ok := v.handler.(*site); ok {
			s.multiplexed.Store(true)
		}
	}
	d.web.serve(ctx, v, conn, under)
	d.add("bytes_out", v.out.Load())
	d.add("bytes_in", v.in.Load())
	return carrel.Outcome{Counts: map[string]int64{"bytes_out": v.out.Load(), "bytes_in": v.in.Load()}}, nil
}

// answerError tells the desk what went wrong with a.
func (d *Door) answerError(a carrel.Action, w http.ResponseWriter, r *http.Request, err error) {
	var refusal *gate.Refusal
	var b *Breach
	switch {
	case errors.As(err, &refusal):
		denialOf(refusal).write(w, r)
	case errors.As(err, &b):
		newDenial(http.StatusForbidden, a.ID, b.Rule, b.Reason, b.Next).write(w, r)
	case errors.As(err, new(*tls.CertificateVerificationError)):
		reason := fmt.Sprintf("the certificate of %s:%d is not to be trusted, so nothing was sent: %s", a.Host, a.Port, plainly(err))
		newDenial(http.StatusBadGateway, a.ID, "egress/certificate", reason, certificateHelp(a, err)).write(w, r)
	case errors.Is(err, errFraming):
		newDenial(http.StatusBadRequest, a.ID, "egress/framing", "the request can be read in two ways: "+err.Error(), framingHelp).write(w, r)
	default:
		newDenial(http.StatusBadGateway, a.ID, "egress/unreachable", fmt.Sprintf("%s:%d: %s", a.Host, a.Port, plainly(err)), reachHelp(err)).write(w, r)
	}
}

// certificateHelp is what to do about an origin's certificate that is not to be
// trusted: another authority helps only where the authority is what is wrong.
func certificateHelp(a carrel.Action, err error) []string {
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return []string{"if the authority is your organisation's, a person may name it in the user's configuration: extra_roots: [FILE.pem]"}
	case errors.As(err, new(x509.HostnameError)):
		return []string{fmt.Sprintf("ask for it by a name that its certificate is for; else whoever runs %s has to replace it", a.Host)}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return []string{fmt.Sprintf("whoever runs %s has to renew it, unless this host's clock is wrong", a.Host)}
	}
	return []string{fmt.Sprintf("whoever runs %s has to replace it", a.Host)}
}

// framingHelp is what to do about a request with more than one reading: servers
// that read it otherwise than the door would do what nobody allowed.
var framingHelp = []string{"send it with one length or one chunked body and plain header lines, as usual clients do by themselves"}

// reachHelp is what to do where a destination could not be reached.
func reachHelp(err error) []string {
	var name *net.DNSError
	switch {
	case errors.As(err, new(*proxyError)):
		return []string{"a person may look at the host's proxy: upstream_proxy of the user's configuration, else HTTPS_PROXY"}
	case errors.As(err, &name) && name.IsNotFound:
		return []string{"look at how the name is spelled; a name that only an internal resolver knows needs a host that asks it"}
	}
	return []string{"it was allowed, and failed outside the desk: try again later, or let a person see whether the host of this desk reaches it"}
}

// plainly says why the outside could not be reached without the addresses of
// the host's own network, which are none of the desk's business. The record
// has them.
func plainly(err error) string {
	var name *net.DNSError
	var op *net.OpError
	var proxy *proxyError
	switch {
	case errors.As(err, &proxy):
		return "the host's proxy: " + plainly(proxy.err)
	case errors.As(err, &name):
		return "the host cannot resolve it"
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}
