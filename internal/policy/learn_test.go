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
