//go:build linux

package main

import (
	"os"
	"slices"
	"testing"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/policy"
)

// verbsOfAgents read, check, or work at a desk of their own. Every other verb
// is the person's: an agent that could give its own answers, or alter what is
// kept of it, would need no walls.
var verbsOfAgents = []string{"agent-policy", "attack", "check-change", "completion", "demo", "doctor", "evidence", "help", "pending", "report", "review", "run", "selftest", "show", "verify", "why"}

// An agent is stopped at each verb of a person's, however it is written.
func TestAttackAgentOperatesCarrel(t *testing.T) {
	p, err := policy.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	stopped := 0
	for _, verb := range (&app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}).root(nil).Commands() {
		want := carrel.Deny
		if slices.Contains(verbsOfAgents, verb.Name()) {
			want = carrel.Allow
		} else {
			stopped++
		}
		for _, argv := range [][]carrel.Text{
			{"carrel", carrel.Text(verb.Name())},
			{"/usr/local/bin/carrel", "--no-color", carrel.Text(verb.Name()), "x"},
			{"carrel", "--reason", "mine", carrel.Text(verb.Name())},
			{"carrel", "--reason", "1", "--reason", "2", "--reason", "3", "--reason", "4", "--reason", "5", carrel.Text(verb.Name())},
		} {
			d := p.Decide(t.Context(), carrel.Action{Operation: carrel.OpExec, Argv: argv})
			if d.Verdict != want || want == carrel.Deny && !slices.Contains(d.Rules, "builtin/operates-carrel") {
				t.Errorf("%q: %s by %v, want %s", argv, d.Verdict, d.Rules, want)
			}
		}
	}
	inside := carrel.Action{Operation: carrel.OpExec, Argv: []carrel.Text{"carrel", "run", "--", "patch", "apply"}}
	if d := p.Decide(t.Context(), inside); d.Verdict != carrel.Allow {
		t.Errorf("the words of another command: %s by %v", d.Verdict, d.Rules)
	}
	if stopped < 12 {
		t.Errorf("%d verbs are the person's", stopped)
	}
}

// A verb is found by the name it is listed under, alone.
func TestVerbsAreMadeByTheirNames(t *testing.T) {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	for _, v := range a.verbs() {
		if got := v.make().Name(); got != v.name {
			t.Errorf("%s makes %s", v.name, got)
		}
		if made := a.verbsFor([]string{v.name, "x"}); len(made) != 1 || made[0].name != v.name {
			t.Errorf("%s makes %d verbs", v.name, len(made))
		}
	}
	if all := a.verbsFor([]string{"no-such-verb"}); len(all) != len(a.verbs()) {
		t.Errorf("an unknown verb is looked for among %d", len(all))
	}
}
