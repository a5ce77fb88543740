package egress

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/net/http/httpguts"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// site is the http destination of one captured connection, plain or inside
// TLS that the door ended.
type site struct {
	door   *Door
	grant  gate.Grant
	live   *live
	action carrel.Action // the connection's
	origin url.URL
	proxy  httputil.ReverseProxy
	pool   *http.Transport
	dialed atomic.Bool

	line        line
	spare       chan net.Conn // dialled for the line, and left to the pool
	multiplexed atomic.Bool   // the origin speaks HTTP/2, or the desk does
}

func newSite(d *Door, g gate.Grant, l *live) *site {
	a := *l.action
	s := &site{door: d, grant: g, live: l, action: a, origin: url.URL{Scheme: schemeOf(a.Protocol), Host: net.JoinHostPort(a.Host, strconv.Itoa(a.Port))}}
	s.spare = make(chan net.Conn, 1)
	s.pool = &http.Transport{DialContext: s.dialPool, DialTLSContext: s.dialPool, DisableCompression: true, MaxIdleConnsPerHost: 1,
		WriteBufferSize: 16 << 10, ReadBufferSize: 16 << 10, ForceAttemptHTTP2: a.Protocol == carrel.ProtoTLS}
	s.proxy = httputil.ReverseProxy{Transport: s, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0), BufferPool: copyBuffers{},
		Rewrite:        s.rewrite,
		ModifyResponse: keepStatus,
		ErrorHandler:   keepError,
	}
	return s
}

func schemeOf(p carrel.Protocol) string {
	if p == carrel.ProtoTLS {
		return "https"
	}
	return "http"
}

func (s *site) close() {
	s.line.close()
	s.pool.CloseIdleConnections()
}

// dial opens the connection that was granted; what an inspected destination
// needs beside it, for requests at the same time, is granted anew.
func (s *site) dial(ctx context.Context, _, _ string) (conn net.Conn, err error) {
	if s.dialed.CompareAndSwap(false, true) {
		conn, addr, err := s.door.connect(ctx, s.grant, s.action)
		s.live.holds(func() bool { return s.door.leadsTo(s.action, addr) })
		return conn, err
	}
	return s.door.connectAnew(ctx, s.action)
}

// rewrite sends a request to the destination that was decided, whatever else
// it may say.
func (s *site) rewrite(p *httputil.ProxyRequest) {
	p.Out.URL.Scheme, p.Out.URL.Host = s.origin.Scheme, s.origin.Host
	p.Out.URL.RawQuery = p.In.URL.RawQuery // ReverseProxy drops what it cannot parse
	p.Out.Host = authority(s.action)
}

// authority is how a request names a destination.
func authority(a carrel.Action) string {
	host := a.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if a.Port != usualPort(a.Protocol) {
		host += ":" + strconv.Itoa(a.Port)
	}
	return host
}

func usualPort(p carrel.Protocol) int {
	if p == carrel.ProtoTLS {
		return 443
	}
	return 80
}

// requestAction is what r wants of the site, in its one spelling, which r is
// given as well.
func (s *site) requestAction(r *http.Request) (carrel.Action, error) {
	a := s.door.action(carrel.OpRequest, s.action.Host, s.action.Port, s.action.Protocol)
	t, err := canonicalTarget(r.URL)
	if err == nil {
		err = checkOverrides(r, t.query)
	}
	if err != nil {
		return a, err
	}
	t.apply(r.URL)
	a.Method, a.URL, a.BodySize = r.Method, carrel.Text(t.String()), r.ContentLength
	a.Headers = make([]string, 0, len(r.Header))
	for name := range r.Header {
		a.Headers = append(a.Headers, strings.ToLower(name))
	}
	slices.Sort(a.Headers)
	if httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade") {
		a.Upgrade = strings.ToLower(strings.Join(r.Header["Upgrade"], ","))
	}
	return a, nil
}

// ServeHTTP decides one request and carries it.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, err := s.requestAction(r)
	if err != nil {
		s.door.refuseTarget(a, w, r, err)
		return
	}
	var status int
	since := s.door.changes.Load()
	_, err = s.door.gate.Do(r.Context(), a, func(ctx context.Context, g gate.Grant) (out carrel.Outcome, err error) {
		if err := g.Covers(a); err != nil {
			return out, err
		}
		ctx, l := s.door.keep(ctx, &a, since)
		defer l.done()
		if status, err = s.pass(ctx, &a, w, r); err != nil {
			return s.door.breach(a, err)
		}
		return carrel.Outcome{Counts: map[string]int64{"status": int64(status)}}, nil
	})
	switch {
	case err != nil && status != 0: // after the answer had begun
		panic(http.ErrAbortHandler)
	case err != nil:
		s.door.answerError(a, w, r, err)
	}
}

// passed is what became of a request, for the one who passes it on.
type passed struct {
	upgrade bool // it asked for another protocol, and may have it
	sent    *allowance
	status  int // of the answer, once there is one
	err     error
}

type passedKey struct{}

// pass sends r on and its answer back. An error without a status means that
// nothing was answered yet.
func (s *site) pass(ctx context.Context, a *carrel.Action, w http.ResponseWriter, r *http.Request) (status int, err error) {
	p := &passed{upgrade: a.Upgrade != "", sent: s.door.allowance(a)}
	defer func() {
		switch cause := recover(); cause {
		case nil:
			status, err = p.status, p.err
		case http.ErrAbortHandler:
			status, err = p.status, errors.New("the connection broke before the answer was complete")
		default:
			panic(cause)
		}
		if ending := endingOf(ctx, *a); ending != nil {
			err = ending
		}
	}()
	if over := p.sent.spend(headSize(r)); over != nil {
		return 0, over
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &metered{r.Body, p.sent}
	}
	if answer, ok := w.(*reply); ok {
		s.passLook(ctx, p, answer, r)
	} else {
		s.proxy.ServeHTTP(w, r.WithContext(context.WithValue(ctx, passedKey{}, p)))
	}
	return p.status, p.err
}

// headSize is about how many bytes the head of r takes.
func headSize(r *http.Request) int64 {
	n := len(r.Method) + len(r.URL.Path) + len(r.URL.RawQuery)
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(v) + 4
		}
	}
	return int64(n)
}

// RoundTrip implements http.RoundTripper: credentials go in at the last step
// before the request leaves, and come out at the first after its answer came.
func (s *site) RoundTrip(r *http.Request) (*http.Response, error) {
	secrets := s.door.cfg.Secrets
	if secrets == nil {
		return s.send(r)
	}
	if err := secrets.Outgoing(r.Context(), s.action.Host, s.action.Port, r); err != nil {
		return nil, err
	}
	bound := secrets.Bound(s.action.Host, s.action.Port)
	if bound {
		r = withoutInterim(r)
	}
	resp, err := s.send(r)
	switch {
	case err == nil:
		secrets.Incoming(s.action.Host, s.action.Port, resp)
	case bound:
		err = unquoted(err)
	}
	return resp, err
}

// keepStatus remembers the answer's status. A switch of protocols that was
// never asked for is no answer: httputil refuses it after this.
func keepStatus(r *http.Response) error {
	p := r.Request.Context().Value(passedKey{}).(*passed)
	if r.StatusCode != http.StatusSwitchingProtocols {
		p.status = r.StatusCode
		return nil
	}
	if p.upgrade {
		p.status = r.StatusCode
		if c, ok := r.Request.Context().Value(visitKey{}).(*visitConn); ok {
			c.sent.Store(p.sent)
			c.framing.raw.Store(true) // what follows is the other protocol's
		}
	}
	return nil
}

func keepError(_ http.ResponseWriter, r *http.Request, err error) {
	r.Context().Value(passedKey{}).(*passed).err = err
}

// copyBuffers lends the buffers that answers are copied through.
type copyBuffers struct{}

// Get implements httputil.BufferPool.
func (copyBuffers) Get() []byte { return chunks.Get().(*[copyChunk]byte)[:] }

// Put implements httputil.BufferPool.
func (copyBuffers) Put(b []byte) { chunks.Put((*[copyChunk]byte)(b)) }
