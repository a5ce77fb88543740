package egress

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/carrel-dev/carrel"
)

func requestTo(method, host, url string) carrel.Action {
	return carrel.Action{Operation: carrel.OpRequest, Host: host, Port: 443, Protocol: carrel.ProtoTLS, Method: method, URL: carrel.Text(url)}
}

func TestRequestsAreDecidedByMethodAndPath(t *testing.T) {
	rs, err := NewRules(Grants{Rules: []Rule{
		{Host: "api.test", Methods: []string{"get"}, Paths: []string{"/repos/acme/app/**", "/users/*/keys", "/%61bout"}},
		{Host: "api.test", Methods: []string{"POST"}, Paths: []string{"/repos/acme/app/issues"}},
		{Host: "npm.test", Paths: []string{"/@acme%2f*", "/plain/**/x"}},
		{Host: "ws.test", Methods: []string{"GET"}, WebSocket: true},
		{Host: "*.wide.test", Methods: []string{"GET"}}, {Host: "pinned.wide.test"},
		{Host: "both.test", Methods: []string{"GET"}}, {Host: "both.test"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, good := range []string{
		"GET api.test /repos/acme/app", "GET api.test /repos/acme/app/", "GET api.test /repos/acme/app/pulls/1?x=/y", "POST api.test /repos/acme/app/issues",
		"GET api.test /users/me/keys", "GET api.test /about", "PUT npm.test /@acme%2Fpkg", "GET npm.test /plain/x", "GET npm.test /plain/a/b/x",
		"GET a.wide.test /", "DELETE pinned.wide.test /x", "DELETE both.test /",
	} {
		w := strings.Fields(good)
		if d := rs.Decide(requestTo(w[0], w[1], w[2])); !d.Allows() {
			t.Errorf("%s: %s", good, d.Reason)
		}
	}
	for _, bad := range []string{
		"POST api.test /repos/acme/app", "get api.test /repos/acme/app", "GET api.test /repos/acme/app2", "GET api.test /repos/acme/apps/x", "GET api.test /repos/acme",
		"GET api.test /repos%2Facme%2Fapp", "GET api.test /x/repos/acme/app", "GET api.test /", "GET api.test *", "GET api.test /users/a/b/keys", "GET api.test /users/a%2Fb/keys",
		"GET api.test /REPOS/acme/app/x", "POST api.test /repos/acme/app/issues/1", "GET npm.test /@acme/pkg", "GET npm.test /plainx", "GET npm.test /@acme%2Fa%2Fb", "POST a.wide.test /",
	} {
		w := strings.Fields(bad)
		d := rs.Decide(requestTo(w[0], w[1], w[2]))
		if d.Allows() {
			t.Errorf("%s is allowed by %v", bad, d.Rules)
		}
	}
	d := rs.Decide(requestTo("DELETE", "api.test", "/repos/acme/app/x?canary"))
	if d.Rules[0] != "egress/request" || len(d.NextSteps) != 1 || !strings.Contains(d.NextSteps[0], `methods: [DELETE], paths: ["/repos/acme/app/x"]`) {
		t.Errorf("%v: %s", d.Rules, d.NextSteps)
	}
	upgrade := requestTo("GET", "api.test", "/repos/acme/app/x")
	upgrade.Upgrade = "websocket"
	if d := rs.Decide(upgrade); d.Allows() || d.Rules[0] != "egress/upgrade" || !strings.Contains(d.NextSteps[0], "websocket: true") {
		t.Errorf("a websocket: %+v", d)
	}
	upgrade.Host = "ws.test"
	if d := rs.Decide(upgrade); !d.Allows() {
		t.Errorf("a websocket that is granted: %s", d.Reason)
	}
	upgrade.Upgrade = "h2c"
	if rs.Decide(upgrade).Allows() {
		t.Error("another protocol passes as a websocket")
	}
	for host, want := range map[string]bool{"api.test": true, "a.wide.test": true, "pinned.wide.test": false, "both.test": false, "none.test": false} {
		if rs.Exact(host, 443) != want {
			t.Errorf("%s: decided by request: %v", host, !want)
		}
	}
}

// The rule that a denial proposes is one that can be written down as it stands,
// grants the request, and grants nothing but that path.
func TestProposedRuleGrantsTheRequest(t *testing.T) {
	old := []Rule{{Host: "api.test", Ports: []int{80, 443, 8080, 8443}, Methods: []string{"PUT"}, Paths: []string{"/old"}}}
	long := "/artifacts/" + strings.Repeat("abcdefghi/", 30) + "logs.zip"
	for _, path := range []string{"/", "/x", "/a%20b", "/@acme%2Fpkg", "/a%252Fb", "/100%25", "/what%3F", "/%23", "/%22quoted%22", "/%2A", "/caf%C3%A9", "/%E2%80%AEtxt", "/a'b,c:d;e=f", long, long + "%2Fz"} {
		for _, at := range []struct {
			port int
			p    carrel.Protocol
		}{{443, carrel.ProtoTLS}, {8443, carrel.ProtoTLS}, {80, carrel.ProtoHTTP}, {8080, carrel.ProtoHTTP}} {
			old[0].Protocol, old[0].Ports = at.p, []int{at.port}
			a := requestTo("DELETE", "api.test", path+"?q=1")
			a.Port, a.Protocol = at.port, at.p
			rs, err := NewRules(Grants{Rules: old})
			if err != nil {
				t.Fatal(err)
			}
			d := rs.Decide(a)
			_, text, _ := strings.Cut(d.NextSteps[0], "configuration: ")
			var proposed struct{ Egress []Rule }
			if err := yaml.Unmarshal([]byte(text), &proposed); err != nil || len(proposed.Egress) != 1 {
				t.Fatalf("%s: %q: %v", path, d.NextSteps[0], err)
			}
			if rs, err = NewRules(Grants{Rules: append(proposed.Egress, old...)}); err != nil {
				t.Fatalf("%s: %q: %v", path, text, err)
			}
			if d := rs.Decide(a); !d.Allows() {
				t.Errorf("%s on port %d: %s does not grant it: %s", path, at.port, text, d.Reason)
			}
			for _, other := range []string{path + "x", strings.ReplaceAll(path, "%2F", "/") + "/x", "/old"} {
				a.URL = carrel.Text(other)
				if rs.Decide(a).Allows() {
					t.Errorf("%s grants %s", text, other)
				}
			}
		}
	}
	rs, _ := NewRules(Grants{Rules: []Rule{{Host: "*.wide.test", Methods: []string{"GET"}}}})
	if d := rs.Decide(requestTo("DELETE", "a.wide.test", "/x")); !strings.Contains(d.NextSteps[0], "instead of *.wide.test:443 GET") {
		t.Errorf("a rule for the very name goes before the wildcard, and nobody is told: %q", d.NextSteps)
	}
	rs, _ = NewRules(Grants{Rules: old})
	a := requestTo("GET", "api.test", "/"+strings.Repeat("x", 3000))
	a.Port, a.Protocol = 8080, carrel.ProtoHTTP
	if d := rs.Decide(a); strings.Contains(d.NextSteps[0], "egress:") || !strings.Contains(d.NextSteps[0], "carrel policy learn") {
		t.Errorf("a path that is too long to show: %.200q", d.NextSteps)
	}
}

func TestRequestRulesAreStrict(t *testing.T) {
	for _, r := range []Rule{
		{Host: "a.test", Methods: []string{""}}, {Host: "a.test", Methods: []string{"GET POST"}}, {Host: "a.test", Methods: []string{"GÉT"}},
		{Host: "a.test", Paths: []string{""}}, {Host: "a.test", Paths: []string{"repos"}}, {Host: "a.test", Paths: []string{"/a/../b"}}, {Host: "a.test", Paths: []string{"/a//b"}},
		{Host: "a.test", Paths: []string{"/%2e%2e/b"}}, {Host: "a.test", Paths: []string{"/%"}}, {Host: "a.test", Upload: -1},
		{Host: "a.test", Ports: []int{22}, Protocol: carrel.ProtoTCP, Methods: []string{"GET"}}, {Host: "a.test", Ports: []int{22}, Protocol: carrel.ProtoTCP, WebSocket: true},
		{Host: "a.test", Methods: []string{"GET"}, ECH: ECHAllow},
	} {
		if _, err := NewRules(Grants{Rules: []Rule{r}}); err == nil {
			t.Errorf("%+v is taken", r)
		}
	}
}

// Stars that mean less than they look like are refused, with what to write.
func TestStarsInTheWrongPlaceAreExplained(t *testing.T) {
	for path, want := range map[string]string{"/a**": "write /a*/**", "/a/***": "write /a/**", "/a**b/c": "write /a*b/c", "/***/c": "write /**/c", "/**a/**": "write /*a/**"} {
		if _, err := NewRules(Grants{Rules: []Rule{{Host: "ok.test", Paths: []string{path}}}}); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{"/a/**", "/**", "/a*b/**/c*", "/a/*/*"} {
		if _, err := NewRules(Grants{Rules: []Rule{{Host: "ok.test", Paths: []string{path}}}}); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
