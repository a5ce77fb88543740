package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
)

// TestWhatPeopleAllowedIsProposedWithItsEvidence: exceptions for exactly the
// actions that a rule asked about and a person allowed, which count once the
// rule says so, and for nothing else.
func TestWhatPeopleAllowedIsProposedWithItsEvidence(t *testing.T) {
	asked := func(rule string) carrel.Decision {
		return carrel.Decision{Verdict: carrel.Ask, Rules: []string{rule}, Reason: "people look"}
	}
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	exec := carrel.Action{Operation: carrel.OpExec, Argv: []carrel.Text{"make", "release"}, Cwd: "/workspace"}
	l, err := Learn(nil, []Ratified{
		{Action: exec, Decision: asked("user/release"), By: "1000:ann", At: at, Record: 7},
		{Action: exec, Decision: asked("user/release"), By: "1001:ben", At: at.Add(time.Hour), Record: 19},
		{Action: carrel.Action{Operation: carrel.OpTool, Subject: "mcp__wiki__read"}, Decision: asked("hook/tool"), By: "1000:ann", At: at, Record: 8},
		{Action: write("/workspace/.github/workflows/ci.yml"), Decision: asked("builtin/ci"), By: "1000:ann", At: at, Record: 9},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ratified if {", `input.argv == ["make","release"]`, "Asked by user/release, allowed 2 times; last by 1001:ben on 2026-03-04, record 19"} {
		if !strings.Contains(string(l.Rego), want) {
			t.Errorf("no %q in\n%s", want, l.Rego)
		}
	}
	if l.Rules != 2 || strings.Contains(string(l.Rego), "ci.yml") || len(l.Left) != 1 || !strings.Contains(string(l.Config), "tools:\n    - mcp__wiki__read") {
		t.Errorf("%d rules, left %q, config %q", l.Rules, l.Left, l.Config)
	}
	policy := head + "governs := {\"exec\"}\nallow := true\nask contains {\"rule\": \"release\", \"msg\": \"x\"} if { \"release\" in input.argv%s }\n"
	for except, want := range map[string]carrel.Verdict{"": carrel.Ask, "; not ratified": carrel.Allow} {
		layer := user(strings.Replace(policy, "%s", except, 1))
		layer.Files = append(layer.Files, File{"learned.rego", l.Rego})
		e := engine(t, layer)
		wantVerdict(t, e, exec, want, "")
		other := exec
		other.Argv = append(other.Argv[:2:2], "--force")
		wantVerdict(t, e, other, carrel.Ask, "user/release")
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "learned_test.yaml"), l.Table, 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := Test(layer, dir)
		if err != nil || (report.Failed == 0) != (want == carrel.Allow) {
			t.Errorf("%+v, %v", report, err)
		}
	}
}

// A rule that is proposed for an action allows that action and none beside it:
// neither another use of the same key, nor a WebSocket where a request was
// asked for, nor another server of the desk behind the same port, nor another
// program by the same words.
func TestProposedRuleAllowsNothingBesideIt(t *testing.T) {
	lease := carrel.Action{Operation: carrel.OpCredential, Subject: "github", Reason: "lease until tomorrow"}
	use := carrel.Action{Operation: carrel.OpCredential, Subject: "github", Host: "api.test", Port: 443, Protocol: carrel.ProtoTLS, Method: "GET", URL: "/repos/a?x=1"}
	request := carrel.Action{Operation: carrel.OpRequest, Host: "api.test", Port: 443, Protocol: carrel.ProtoTLS, Method: "GET", URL: "/a"}
	expose := carrel.Action{Operation: carrel.OpExpose, Host: "127.0.0.1", Port: 3000, Protocol: carrel.ProtoTCP, Subject: "desk:3000"}
	exec := carrel.Action{Operation: carrel.OpExec, Path: "/usr/bin/git", RawPath: "/usr/bin/git", Argv: []carrel.Text{"git", "status"}, Cwd: "/workspace"}
	with := func(a carrel.Action, change func(*carrel.Action)) carrel.Action { change(&a); return a }
	grant := Layer{Name: "all", Kind: User, Governs: []carrel.Operation{carrel.OpCredential, carrel.OpRequest, carrel.OpExpose}, Text: someText,
		Func: func(carrel.Action) Answer { return Answer{Verdict: carrel.Allow, Rules: []string{"all"}} }}
	for _, c := range []struct {
		asked  carrel.Action
		beside []carrel.Action
	}{
		{lease, []carrel.Action{use}},
		{use, []carrel.Action{lease, with(use, func(a *carrel.Action) { a.Method = "DELETE" }), with(use, func(a *carrel.Action) { a.URL = "/user" }),
			with(use, func(a *carrel.Action) { a.Host = "other.test" }), with(use, func(a *carrel.Action) { a.Port = 8443 }), with(use, func(a *carrel.Action) { a.Subject = "npm" })}},
		{request, []carrel.Action{with(request, func(a *carrel.Action) { a.Upgrade = "websocket" }), with(request, func(a *carrel.Action) { a.Port = 8443 })}},
		{with(request, func(a *carrel.Action) { a.Upgrade = "websocket" }), []carrel.Action{request}},
		{expose, []carrel.Action{with(expose, func(a *carrel.Action) { a.Subject = "desk:22" })}},
		{exec, []carrel.Action{with(exec, func(a *carrel.Action) { a.Path, a.RawPath = "/workspace/git", "/workspace/git" })}},
	} {
		e := engine(t, grant, user(head+"governs := {\"credential\", \"request\", \"expose\", \"exec\"}\n"+RuleFor("allow", c.asked)+"\n"))
		wantVerdict(t, e, c.asked, carrel.Allow, "")
		for _, a := range c.beside {
			if d := e.Decide(t.Context(), a); d.Allows() {
				t.Errorf("%s allows %s %s %s %s %s %d", RuleFor("allow", c.asked), a.Operation, a.Path, a.Subject, a.Method, a.URL, a.Port)
			}
		}
	}
}
