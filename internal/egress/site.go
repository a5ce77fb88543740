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
	"strconv"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// site is the plain http destination of one captured connection.
type site struct {
	door   *Door
	action carrel.Action
	proxy  httputil.ReverseProxy
	pool   *http.Transport
}

func newSite(d *Door, g gate.Grant, a carrel.Action) *site {
	s := &site{door: d, action: a}
	s.pool = &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return d.connect(ctx, g, a) },
		DisableCompression: true, MaxConnsPerHost: 1,
	}
	origin := &url.URL{Scheme: "http", Host: net.JoinHostPort(a.Host, strconv.Itoa(a.Port))}
	s.proxy = httputil.ReverseProxy{Transport: s.pool, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = origin.Scheme, origin.Host
			p.Out.URL.RawQuery = p.In.URL.RawQuery
			p.Out.Host = p.In.Host
		},
		ModifyResponse: keepStatus,
		ErrorHandler:   keepError,
	}
	return s
}

func (s *site) close() { s.pool.CloseIdleConnections() }

// ServeHTTP decides one request and carries it.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := s.door.action(carrel.OpRequest, s.action.Host, s.action.Port, s.action.Protocol)
	t, err := canonicalTarget(r.URL)
	if err != nil {
		s.door.refuseTarget(a, w, err)
		return
	}
	t.apply(r.URL)
	a.Method, a.URL = r.Method, carrel.Text(t.String())
	var status int
	_, err = s.door.gate.Do(r.Context(), a, func(ctx context.Context, g gate.Grant) (out carrel.Outcome, err error) {
		if err := g.Covers(a); err != nil {
			return out, err
		}
		if status, err = s.pass(ctx, w, r); err != nil {
			return s.door.breach(a, err)
		}
		return carrel.Outcome{Counts: map[string]int64{"status": int64(status)}}, nil
	})
	switch {
	case err != nil && status != 0: // after the answer had begun
		panic(http.ErrAbortHandler)
	case err != nil:
		s.door.answerError(a, w, err)
	}
}

// passed is what became of a request, for the one who passes it on.
type passed struct {
	status int // of the answer, once there is one
	err    error
}

type passedKey struct{}

// pass sends r on and its answer back. An error without a status means that
// nothing was answered yet.
func (s *site) pass(ctx context.Context, w http.ResponseWriter, r *http.Request) (status int, err error) {
	p := &passed{}
	defer func() {
		switch cause := recover(); cause {
		case nil:
			status, err = p.status, p.err
		case http.ErrAbortHandler:
			status, err = p.status, errors.New("the connection broke before the answer was complete")
		default:
			panic(cause)
		}
	}()
	s.proxy.ServeHTTP(w, r.WithContext(context.WithValue(ctx, passedKey{}, p)))
	return p.status, p.err
}

// keepStatus remembers the answer's status. A switch of protocols, which was
// never asked for, is no answer: httputil refuses it after this.
func keepStatus(r *http.Response) error {
	if r.StatusCode != http.StatusSwitchingProtocols {
		r.Request.Context().Value(passedKey{}).(*passed).status = r.StatusCode
	}
	return nil
}

func keepError(_ http.ResponseWriter, r *http.Request, err error) {
	r.Context().Value(passedKey{}).(*passed).err = err
}
