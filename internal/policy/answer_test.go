package policy

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
)

func TestDenialForms(t *testing.T) { // E67, E68
	for rules, want := range map[string]struct {
		verdict carrel.Verdict
		reason  string
	}{
		"":                                          {carrel.Allow, ""},
		"deny := false":                             {carrel.Allow, ""},
		"deny := set()":                             {carrel.Allow, ""},
		"deny := []":                                {carrel.Allow, ""},
		"deny := {}":                                {carrel.Allow, ""},
		"deny contains \"x\" if false":              {carrel.Allow, ""},
		"deny if false":                             {carrel.Allow, ""},
		"ask := false":                              {carrel.Allow, ""},
		"ask contains \"x\" if false":               {carrel.Allow, ""},
		"deny := true":                              {carrel.Deny, "the policy denies it"},
		"deny contains \"no\"":                      {carrel.Deny, "no"},
		"deny := [\"no\"]":                          {carrel.Deny, "no"},
		"deny := \"no\"":                            {carrel.Deny, "no"},
		"deny := \"\"":                              {carrel.Deny, "the policy denies it"},
		"deny := {\"msg\": \"no\"}":                 {carrel.Deny, "no"},
		"deny contains {\"msg\": \"no\"}":           {carrel.Deny, "no"},
		"deny[\"why\"] := \"no\"":                   {carrel.Deny, "no"},
		"deny[\"why\"] := {\"msg\": \"no\"}":        {carrel.Deny, "no"},
		"deny[\"why\"] := true":                     {carrel.Deny, "why"},
		`deny contains base64.decode("/w==")`:       {carrel.Deny, "\ufffd"},
		`deny if { print("x"); trace("y"); false }`: {carrel.Allow, ""},
		"deny := 0":                                 {carrel.Deny, "0"},
		"deny := null":                              {carrel.Deny, "null"},
		"deny contains false":                       {carrel.Deny, "the policy denies it"},
		"deny contains null":                        {carrel.Deny, "null"},
		"deny.a.b := \"no\"":                        {carrel.Deny, "a"},
		"ask := true":                               {carrel.Ask, "the policy asks for approval"},
		"ask contains {\"msg\": \"sure?\"}":         {carrel.Ask, "sure?"},
		"ask := true\ndeny := true":                 {carrel.Deny, "the policy denies it"},
	} {
		e := engine(t, user(openHead+rules+"\n"))
		if d := wantVerdict(t, e, inside, want.verdict, ""); want.reason != d.Reason && d.Verdict != carrel.Allow {
			t.Errorf("%s: reason %q, want %q", rules, d.Reason, want.reason)
		}
	}
}

func TestOnlyTrueAllows(t *testing.T) {
	for _, rule := range []string{
		"default allow := false", "allow if input.nothing", "allow := \"true\"", "allow := 1", "allow := {true}", "allow := [true]", "allow := null",
		"allow contains true", "allow := {\"allow\": true}", "deny := false", "allow[\"x\"] := true",
	} {
		wantVerdict(t, engine(t, user(head+rule+"\n")), inside, carrel.Deny, "user/not-allowed")
	}
}

func TestFailuresDeny(t *testing.T) { // 154, E70
	for name, c := range map[string]struct{ rules, rule string }{
		"error in deny":      {`deny if to_number("abc") == 1`, "user/error"},
		"error in allow":     {`allow if to_number("abc") == 1`, "user/error"},
		"error in ask":       {`ask if to_number("abc") == 1`, "user/error"},
		"wrong type":         {`deny if contains(input.argv, "x")` + "\n" + `deny if startswith(json.unmarshal("1"), "x")`, "user/error"},
		"conflict in allow":  {"allow := false if input.path\nallow := true if input.operation", "user/error"},
		"conflict in deny":   {"deny := \"a\" if input.path\ndeny := \"b\" if input.operation", "user/error"},
		"endless":            {"deny if { some i in numbers.range(1, 100000); some j in numbers.range(1, 100000); i * j < 0 }", "user/time-out"},
		"division by nought": {"deny if 1 / count(input.nothing) == 1\ndeny if 1 / (count(input.path) - count(input.path)) == 1", "user/error"},
	} {
		t.Run(name, func(t *testing.T) {
			allow := "allow := true\n"
			if strings.Contains(c.rules, "allow") {
				allow = ""
			}
			e := engine(t, user(head+allow+c.rules+"\n"))
			start := time.Now()
			wantVerdict(t, e, inside, carrel.Deny, c.rule)
			if took := time.Since(start); took > 5*deadline {
				t.Errorf("took %v", took)
			}
			wantVerdict(t, e, execAction, carrel.Allow, "") // the rest of the policy still answers
		})
	}
}

func TestPanickingLayerDenies(t *testing.T) {
	l := egress("ok.test")
	l.Func = func(carrel.Action) Answer { panic("broken") }
	wantVerdict(t, engine(t, l), connect("ok.test"), carrel.Deny, "egress/fault")
}

func TestBytesThatAreNoTextFailRulesThatReadThem(t *testing.T) {
	e := engine(t, user(openHead+"governs := {\"exec\"}\ndeny if contains(input.argv[_], \"rm\")\n"))
	odd := execAction.Clone()
	odd.Argv = append(odd.Argv, "\xff rm")
	wantVerdict(t, e, odd, carrel.Deny, "user/error")
	wantVerdict(t, e, execAction, carrel.Allow, "user/allow")
}

func TestNothingGovernsMeansDenied(t *testing.T) {
	e := engine(t)
	e.entries = e.entries[:1]
	wantVerdict(t, e, execAction, carrel.Deny, "policy/not-granted")
	var none *Engine
	wantVerdict(t, none, execAction, carrel.Deny, "policy/none")
	wantVerdict(t, &Engine{}, execAction, carrel.Deny, "policy/none")
}

func TestConcurrentDecisions(t *testing.T) { // 158
	engines := []*Engine{engine(t, user(openHead)), engine(t, user(head+"deny := true\n"))}
	var current atomic.Pointer[Engine]
	current.Store(engines[0])
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				if i == 0 {
					current.Store(engines[j%2])
				}
				d := current.Load().Decide(context.Background(), inside)
				want := map[carrel.Digest]carrel.Verdict{engines[0].Digest(): carrel.Allow, engines[1].Digest(): carrel.Deny}[d.Policy]
				if d.Verdict != want {
					t.Errorf("%+v", d)
				}
			}
		})
	}
	wg.Wait()
	engines[0].Warm()
	wantVerdict(t, engines[0], publishAction(false, carrel.SeverityLow), carrel.Ask, "builtin/review")
}
