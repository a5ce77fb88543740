package egress

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

const realKey = "sk-real-canary-0123456789"

// endpoint is a scripted model endpoint that remembers what it was sent.
type endpoint struct {
	mu   sync.Mutex
	seen []*http.Request
	body []string
	keys []string // that are accepted; empty: all
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	e.mu.Lock()
	e.seen, e.body = append(e.seen, r), append(e.body, string(b))
	e.mu.Unlock()
	for _, k := range e.keys {
		if r.Header.Get("X-Api-Key") != k {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
	}
	w.Header().Set("Link", "you sent "+r.Header.Get("X-Api-Key"))
	w.WriteHeader(http.StatusEarlyHints)
	w.Header().Del("Link")
	w.Header().Set("X-Echo", "you sent "+r.Header.Get("X-Api-Key"))
	w.Header().Set("Set-Cookie", "session=1")
	w.Header().Set("Request-Id", "req_1")
	if strings.HasPrefix(r.URL.Path, "/base/stream") {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: first\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	}
	fmt.Fprintf(w, "%s %s", r.Method, r.URL.RequestURI())
}

// modelDesk is a desk whose model endpoint is srv, under /base.
func modelDesk(t *testing.T, srv *httptest.Server, cfg Config, decide func(carrel.Action) carrel.Decision) *testDesk {
	cfg.KeyHeader = "x-api-key"
	if cfg.Key == nil {
		cfg.Key = func(_ context.Context, g gate.Grant, a carrel.Action, _ bool) (string, error) {
			return realKey, g.Covers(a)
		}
	}
	return newDesk(t, setup{grants: Grants{Model: srv.URL + "/base"}, cfg: cfg, decide: decide})
}

func TestModelDoorAddsTheKeyOutside(t *testing.T) {
	e := &endpoint{}
	srv := httptest.NewServer(e)
	defer srv.Close()
	d := modelDesk(t, srv, Config{}, nil)
	req, _ := http.NewRequest("POST", "http://model.desk/v1/messages?beta=true&k%65y=mine&x=%2F", strings.NewReader(`{"stream":false}`))
	req.Header.Set("X-Api-Key", "placeholder")
	req.Header.Set("Authorization", "Bearer mine")
	req.Header.Set("Cookie", "a=b")
	req.Header.Set("Anthropic-Version", "2023-06-01")
	resp, err := d.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if string(body) != "POST /base/v1/messages?beta=true&x=%2F" || resp.Header.Get("Request-Id") != "req_1" {
		t.Errorf("%q %v", body, resp.Header)
	}
	if all := fmt.Sprint(resp.Header, string(body)); strings.Contains(all, realKey) || strings.Contains(all, "session=1") {
		t.Errorf("the answer shows %s", all)
	}
	sent := e.seen[0]
	if sent.Header.Get("X-Api-Key") != realKey || sent.Header.Get("Authorization") != "" || sent.Header.Get("Cookie") != "" ||
		sent.Header.Get("Anthropic-Version") != "2023-06-01" || e.body[0] != `{"stream":false}` || sent.Host != strings.TrimPrefix(srv.URL, "http://") {
		t.Errorf("the endpoint was sent %v %q to %s", sent.Header, e.body[0], sent.Host)
	}
	var ops []carrel.Operation
	for _, r := range d.log.Records() {
		if strings.Contains(fmt.Sprintf("%+v %+v %+v", r, r.Action, r.Outcome), realKey) {
			t.Errorf("the log has the key: %+v", r)
		}
		if r.Kind == carrel.KindIntent {
			ops = append(ops, r.Action.Operation)
		}
	}
	if want := "[resolve connect credential connect]"; fmt.Sprint(ops) != want {
		t.Errorf("recorded %v, want %s", ops, want)
	}
}

// What an endpoint says before its answer comes past nobody who takes the key
// out: it does not come in.
// An endpoint that repeats what it was sent would show the key piece by piece,
// no piece of which is it, to whoever may ask for parts of its answer.
func TestAttackModelKeyInPartsOfAnAnswer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("you sent "+r.Header.Get("X-Api-Key")))
	}))
	defer srv.Close()
	d := modelDesk(t, srv, Config{Conceal: func(*http.Response, string) {}}, nil)
	req, _ := http.NewRequest("GET", "http://model.desk/echo", nil)
	req.Header.Set("Range", "bytes=9-12")
	resp, err := d.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || len(body) < len(realKey) {
		t.Errorf("a part of the answer came: %d %q", resp.StatusCode, body)
	}
}

func TestInterimAnswersDoNotComeIn(t *testing.T) {
	srv := httptest.NewServer(&endpoint{})
	defer srv.Close()
	d := modelDesk(t, srv, Config{}, nil)
	req, err := http.NewRequest("GET", "http://model.desk/v1", nil)
	if err != nil {
		t.Fatal(err)
	}
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		t.Errorf("%d came in: %v", code, h)
		return nil
	}}
	resp, err := d.client().Do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

func TestModelDoorStreams(t *testing.T) {
	srv := httptest.NewServer(&endpoint{})
	defer srv.CloseClientConnections()
	d := modelDesk(t, srv, Config{}, nil)
	resp, err := d.client().Get("http://model.desk/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); line != "data: first\n" {
		t.Errorf("%q, %v", line, err)
	}
}

func TestModelDoorOverTLSVerifiesTheEndpoint(t *testing.T) {
	for _, trusted := range []bool{true, false} {
		srv := httptest.NewUnstartedServer(&endpoint{})
		srv.EnableHTTP2 = true
		srv.StartTLS()
		roots := x509.NewCertPool()
		if trusted {
			roots.AddCert(srv.Certificate())
		}
		d := modelDesk(t, srv, Config{Roots: roots}, nil)
		body, status := get(t, d.client(), "http://model.desk/v1")
		if trusted && (status != 200 || body != "GET /base/v1") {
			t.Errorf("trusted: %d %s", status, body)
		}
		if !trusted && (status != http.StatusBadGateway || !strings.Contains(body, "certificate")) {
			t.Errorf("untrusted: %d %s", status, body)
		}
		srv.Close()
	}
}

func TestModelKeyIsFetchedAgainOnce(t *testing.T) {
	e := &endpoint{keys: []string{"fresh"}}
	srv := httptest.NewServer(e)
	defer srv.Close()
	var asked []bool
	key := func(_ context.Context, g gate.Grant, a carrel.Action, again bool) (string, error) {
		asked = append(asked, again)
		if again {
			return "fresh", g.Covers(a)
		}
		return "old", g.Covers(a)
	}
	d := modelDesk(t, srv, Config{Key: key}, nil)
	resp, err := d.client().Post("http://model.desk/v1", "application/json", strings.NewReader("{}"))
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	if fmt.Sprint(asked) != "[false true]" || fmt.Sprint(e.body) != "[{} {}]" {
		t.Errorf("asked %v, sent %q", asked, e.body)
	}
}

func TestModelDoorExplainsWhatWentWrong(t *testing.T) {
	srv := httptest.NewServer(&endpoint{})
	defer srv.Close()
	noKey := func(context.Context, gate.Grant, carrel.Action, bool) (string, error) {
		return "", errors.New("environment variable X_KEY is not set")
	}
	d := modelDesk(t, srv, Config{Key: noKey}, nil)
	body, status := get(t, d.client(), "http://model.desk/v1")
	if status != http.StatusBadGateway || !strings.Contains(body, "X_KEY is not set") || !strings.Contains(body, `"error":{"type":"api_error"`) {
		t.Errorf("%d %s", status, body)
	}
	d = modelDesk(t, srv, Config{}, func(a carrel.Action) carrel.Decision {
		if a.Operation == carrel.OpCredential {
			return carrel.Decision{Rules: []string{"org/keys"}, Reason: "no key after six"}
		}
		return carrel.Decision{Verdict: carrel.Allow}
	})
	body, status = get(t, d.client(), "http://model.desk/v1")
	if status != http.StatusForbidden || !strings.Contains(body, "no key after six") || !strings.Contains(body, `"permission_error"`) {
		t.Errorf("%d %s", status, body)
	}
}

// The door is for the model only: not for another host, port or protocol.
func TestModelDoorLeadsNowhereElse(t *testing.T) {
	srv := httptest.NewServer(&endpoint{})
	defer srv.Close()
	d := modelDesk(t, srv, Config{}, nil)
	req, _ := http.NewRequest("GET", "http://model.desk/x", nil)
	req.Host = "evil.test"
	resp, err := d.client().Do(req)
	if err != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("another host: %v, %v", resp, err)
	}
	if err == nil {
		resp.Body.Close()
	}
	if got, err := d.exchange("model.desk", "443", "canary"); err == nil {
		t.Errorf("port 443 answered %q", got)
	}
	without := newDesk(t, setup{grants: Grants{Rules: []Rule{{Host: "ok.test", Ports: []int{80}}}}})
	if addr, err := without.lookup("model.desk"); err == nil {
		t.Errorf("without an endpoint model.desk is %s", addr)
	}
}

// A key that is meant for /base must not work beside it, however the way up
// is spelt.
func TestAttackModelDoorClimbsOutOfTheEndpoint(t *testing.T) {
	e := &endpoint{}
	srv := httptest.NewServer(e)
	defer srv.Close()
	d := modelDesk(t, srv, Config{}, nil)
	for _, path := range []string{"/../admin", "/v1/../../admin", "/%2e%2e/admin", "/%2E./admin", "/..%2fadmin", "/..%5cadmin", "/%252e%252e/admin", "/..;x=1/admin", "/.."} {
		got, err := d.exchange("model.desk", "80", "GET "+path+" HTTP/1.1\r\nHost: model.desk\r\nConnection: close\r\n\r\n")
		if err != nil || !strings.Contains(got, " 403 ") {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	e.mu.Lock()
	reached := len(e.seen)
	e.mu.Unlock()
	if reached != 0 {
		t.Errorf("%d requests reached the endpoint", reached)
	}
	for _, path := range []string{"/v1/files/a..b", "/v1/...", "/v1/models/x%2Fy?up=../.."} {
		got, err := d.exchange("model.desk", "80", "GET "+path+" HTTP/1.1\r\nHost: model.desk\r\nConnection: close\r\n\r\n")
		if err != nil || !strings.Contains(got, " 200 ") {
			t.Errorf("%s: %q, %v", path, got, err)
			continue
		}
		e.mu.Lock()
		if last := e.seen[len(e.seen)-1].RequestURI; last != "/base"+path {
			t.Errorf("%s arrived as %s", path, last)
		}
		e.mu.Unlock()
	}
}

// The desk has no say in whose account is used, however it spells it.
func TestAttackOwnCredentialInOtherSpellings(t *testing.T) {
	e := &endpoint{}
	srv := httptest.NewServer(e)
	defer srv.Close()
	d := modelDesk(t, srv, Config{}, nil)
	got, err := d.exchange("model.desk", "80", "POST /v1 HTTP/1.1\r\nHost: model.desk\r\nX_Api_Key: mine\r\nX_api-KEY: mine\r\nX_Request_Id: twin\r\n"+
		"Transfer-Encoding: chunked\r\nTrailer: X-Api-Key\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\nX-Api-Key: mine\r\n\r\n")
	if err != nil || !strings.Contains(got, " 200 ") {
		t.Fatalf("%q, %v", got, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.seen[0]
	if e.body[0] != "hi" || r.Header.Get("X_Request_Id") != "twin" || r.Header.Get("X-Api-Key") != realKey {
		t.Errorf("body %q, header %v", e.body[0], r.Header)
	}
	if s := fmt.Sprint(r.Header, r.Trailer); strings.Contains(s, "mine") {
		t.Errorf("the desk's own credential arrived: %s", s)
	}
}
