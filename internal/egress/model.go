package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

const (
	// maxReplay bounds the body that is kept to be sent again with a fresh key.
	maxReplay = 4 << 20
	// maxReplays is how many are kept at once.
	maxReplays = 16
)

// credentialHeaders are removed from what the desk sends wherever the door
// adds a key: the desk has no say in whose account is used.
var credentialHeaders = []string{
	"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Cookie", "Proxy-Authorization",
}

// credentialParameters are the same in a query.
var credentialParameters = []string{"key", "api_key", "access_token"}

// modelDoor is http://model.desk: it passes requests on to the agent's model
// endpoint and adds the key, which never enters the desk.
type modelDoor struct {
	door   *Door
	behind carrel.Action // host, port, protocol and service of the endpoint
	proxy  httputil.ReverseProxy
	pool   *http.Transport
	stale  atomic.Bool // the endpoint refused the last key

	replays chan struct{} // has one token for each body that is kept
}

func newModelDoor(d *Door) *modelDoor {
	m := &modelDoor{door: d, replays: make(chan struct{}, maxReplays)}
	m.behind.Host, m.behind.Port, m.behind.Protocol, _ = d.cfg.Rules.ModelEndpoint()
	m.behind.Service = d.cfg.Rules.modelService()
	m.pool = &http.Transport{
		DialContext: m.dial, DisableCompression: true, ForceAttemptHTTP2: true,
		TLSClientConfig:     &tls.Config{RootCAs: d.cfg.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: dialTimeout, MaxIdleConnsPerHost: 8, IdleConnTimeout: 5 * time.Minute,
	}
	endpoint := d.cfg.Rules.model
	m.proxy = httputil.ReverseProxy{Transport: m, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.RawQuery = p.In.URL.RawQuery // ReverseProxy drops what it cannot parse
			p.SetURL(endpoint)
			p.Out.Host = endpoint.Host
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			d.answerError(m.action(carrel.OpConnect), w, r, err)
		},
	}
	return m
}

// ServeHTTP implements http.Handler.
func (m *modelDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		a := m.action(carrel.OpRequest)
		m.door.refuseRequest(a, w, r, &Breach{Action: a, Rule: "egress/upgrade", Reason: "the model door carries requests only, not an upgrade to another protocol"})
		return
	}
	t, err := canonicalTarget(r.URL)
	if err != nil {
		m.door.refuseTarget(m.action(carrel.OpRequest), w, r, err)
		return
	}
	t.apply(r.URL)
	m.proxy.ServeHTTP(w, r)
}

func (m *modelDoor) close() {
	if m != nil {
		m.pool.CloseIdleConnections()
	}
}

func (m *modelDoor) action(op carrel.Operation) carrel.Action {
	a := m.door.action(op, m.behind.Host, m.behind.Port, m.behind.Protocol)
	a.Service = m.behind.Service
	return a
}

// dial opens one connection to the endpoint, which later requests share. It
// is an action of its own, so that the log has the real destination.
func (m *modelDoor) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := m.door.connectAnew(ctx, m.action(carrel.OpConnect))
	if err != nil {
		return nil, errDial{err}
	}
	return conn, nil
}

// RoundTrip implements http.RoundTripper: each request is a use of the key
// and decided as one; its effect ends with the answer's header, and what
// streams afterwards needs no key.
func (m *modelDoor) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	op := carrel.OpCredential
	if m.door.cfg.Key == nil {
		op = carrel.OpRequest
	}
	a := m.action(op)
	if op == carrel.OpCredential {
		a.Subject = "model" // the name of the credential
	}
	a.Method, a.URL = r.Method, carrel.Text(r.URL.RequestURI())
	since := m.door.changes.Load()
	_, err = m.door.gate.Do(r.Context(), a, func(ctx context.Context, g gate.Grant) (carrel.Outcome, error) {
		ctx, l := m.door.keep(ctx, &a, since)
		if resp, err = m.send(r.WithContext(ctx), g, a); err != nil {
			l.done()
			return m.failed(ctx, a, err)
		}
		resp.Body = &keptBody{resp.Body, l}
		return carrel.Outcome{Counts: map[string]int64{"status": int64(resp.StatusCode)}}, nil
	})
	if err != nil && resp != nil {
		resp.Body.Close()
		resp = nil
	}
	return resp, err
}

// failed says why a request was not answered. Why nothing could be dialled was
// said by the action that tried.
func (m *modelDoor) failed(ctx context.Context, a carrel.Action, err error) (out carrel.Outcome, _ error) {
	if !errors.As(err, new(errDial)) {
		out, err = m.door.breach(a, err)
	}
	return m.door.ended(ctx, a, out, err)
}

// keptBody is an answer that outlives the action which asked for it.
type keptBody struct {
	io.ReadCloser
	live *live
}

// Close implements io.Closer.
func (b *keptBody) Close() error {
	defer b.live.done()
	return b.ReadCloser.Close()
}

// send adds the key and sends r; once more with a fresh key if the endpoint
// refused the first and the body is small enough to be repeated.
func (m *modelDoor) send(r *http.Request, g gate.Grant, a carrel.Action) (*http.Response, error) {
	if err := g.Covers(a); err != nil {
		return nil, err
	}
	sent := m.door.allowance(&a)
	if over := sent.spend(headSize(r)); over != nil {
		return nil, over
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &metered{r.Body, sent}
	}
	if m.door.cfg.Key == nil {
		return m.pool.RoundTrip(r)
	}
	body, repeatable, err := m.keepBody(r)
	if err != nil {
		return nil, err
	}
	if body != nil {
		defer func() { <-m.replays }()
	}
	resp, err := m.sendWith(r, g, a, m.stale.Swap(false))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	if !repeatable {
		m.stale.Store(true)
		return resp, nil
	}
	resp.Body.Close()
	r.Body = io.NopCloser(bytes.NewReader(body))
	return m.sendWith(r, g, a, true)
}

// keepBody reads a small body so that it can be sent twice, and takes one of
// the replays for it; a larger one, or one of too many, is left to stream.
func (m *modelDoor) keepBody(r *http.Request) (body []byte, repeatable bool, err error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, true, nil
	}
	if r.ContentLength < 0 || r.ContentLength > maxReplay {
		return nil, false, nil
	}
	select {
	case m.replays <- struct{}{}:
	default:
		return nil, false, nil
	}
	body = make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		<-m.replays
		return nil, false, fmt.Errorf("reading the request: %w", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, true, nil
}

func (m *modelDoor) sendWith(r *http.Request, g gate.Grant, a carrel.Action, again bool) (*http.Response, error) {
	key, err := m.door.cfg.Key(r.Context(), g, a, again)
	if err != nil {
		return nil, fmt.Errorf("the model key cannot be had outside the desk: %w", err)
	}
	out := r.Clone(r.Context())
	out.Header.Del("Range") // in parts, an answer that repeats the key would show it piece by piece
	out.Header.Del("If-Range")
	header := m.door.cfg.KeyHeader
	dropCredentials(out, header)
	dropParameters(out)
	if header == "" || strings.EqualFold(header, "Authorization") {
		out.Header.Set("Authorization", "Bearer "+key)
	} else {
		out.Header.Set(header, key)
	}
	if m.door.cfg.Conceal != nil {
		out.Header.Set("Accept-Encoding", "identity") // what comes back has to be read
	}
	resp, err := m.pool.RoundTrip(withoutInterim(out))
	if err != nil {
		return nil, unquoted(err)
	}
	scrub(resp.Header, key)
	if m.door.cfg.Conceal != nil {
		m.door.cfg.Conceal(resp, key)
	}
	return resp, nil
}

// dropCredentials removes every header that could say whose account is used:
// also spelt with underscores, which some servers take for hyphens, and in
// trailers, which some join with the header.
func dropCredentials(r *http.Request, header string) {
	r.Trailer = nil
	for name := range r.Header {
		plain := strings.ReplaceAll(name, "_", "-")
		for _, c := range append([]string{header}, credentialHeaders...) {
			if strings.EqualFold(plain, c) {
				delete(r.Header, name)
			}
		}
	}
}

// dropParameters removes credentials from the query and leaves the rest byte
// for byte.
func dropParameters(r *http.Request) {
	var kept []string
	for _, part := range strings.Split(r.URL.RawQuery, "&") {
		name, _, _ := strings.Cut(part, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		drop := false
		for _, p := range credentialParameters {
			drop = drop || strings.EqualFold(name, p)
		}
		if !drop {
			kept = append(kept, part)
		}
	}
	r.URL.RawQuery = strings.Join(kept, "&")
}

// scrub removes every header that holds the key or would leave a session of
// the key's owner in the desk.
func scrub(h http.Header, key string) {
	h.Del("Set-Cookie")
	for name, values := range h {
		for _, v := range values {
			if key != "" && strings.Contains(v, key) {
				h.Del(name)
				break
			}
		}
	}
}
