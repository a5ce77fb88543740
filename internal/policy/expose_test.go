package policy

import (
	"testing"

	"github.com/carrel-dev/carrel"
)

// TestServersOfTheDeskAreShownOnLoopbackOnly: a flag grants, nothing lifts the
// floor.
func TestServersOfTheDeskAreShownOnLoopbackOnly(t *testing.T) {
	a := carrel.Action{Operation: carrel.OpExpose, Host: "127.0.0.1", Port: 8080, Protocol: carrel.ProtoTCP, Subject: "desk:8080"}
	wantVerdict(t, engine(t), a, carrel.Deny, "")
	granting := Layer{Name: "flags", Kind: User, Governs: []carrel.Operation{carrel.OpExpose}, Text: someText,
		Func: func(carrel.Action) Answer { return Answer{Verdict: carrel.Allow, Rules: []string{"flag"}} }}
	e := engine(t, granting)
	wantVerdict(t, e, a, carrel.Allow, "flags/flag")
	a.Host = "::1"
	wantVerdict(t, e, a, carrel.Allow, "flags/flag")
	for _, host := range []string{"0.0.0.0", "::", "192.0.2.1", "example.org"} {
		a.Host = host
		wantVerdict(t, e, a, carrel.Deny, "builtin/expose-loopback")
	}
	a.Host, a.Subject = "127.0.0.1", ""
	wantVerdict(t, e, a, carrel.Deny, "")
}

// TestPolicySeesWhereACredentialGoes: an organisation can narrow by it.
func TestPolicySeesWhereACredentialGoes(t *testing.T) {
	granting := Layer{Name: "lent", Kind: User, Governs: []carrel.Operation{carrel.OpCredential}, Text: someText,
		Func: func(carrel.Action) Answer { return Answer{Verdict: carrel.Allow, Rules: []string{"github"}} }}
	narrow := user(`package cowork.access
import rego.v1
governs := {"credential"}
allow if not input.host
allow if { input.host == "api.github.com"; input.method == "GET"; startswith(input.path, "/repos/acme/") }
`)
	e := engine(t, granting, narrow)
	use := carrel.Action{Operation: carrel.OpCredential, Subject: "github", Host: "api.github.com", Port: 443, Protocol: carrel.ProtoTLS, Method: "GET", URL: "/repos/acme/app?x=1"}
	wantVerdict(t, e, carrel.Action{Operation: carrel.OpCredential, Subject: "github", Reason: "lease until tomorrow"}, carrel.Allow, "")
	wantVerdict(t, e, use, carrel.Allow, "")
	other := use
	other.Method = "DELETE"
	wantVerdict(t, e, other, carrel.Deny, "")
	other = use
	other.URL = "/user"
	wantVerdict(t, e, other, carrel.Deny, "")
	other = use
	other.Host = "API.github.com"
	wantVerdict(t, e, other, carrel.Deny, "")
}
