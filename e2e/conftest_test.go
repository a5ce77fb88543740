//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The same rules, on the same recorded actions, with the real Conftest.
func TestConftestSaysTheSame(t *testing.T) {
	dir := installed(t, conftest, func(dir string) error {
		return loudly(dir, "env", "GOBIN="+dir, "CGO_ENABLED=0", "go", "install", conftest)
	})
	program := filepath.Join(filepath.Dir(carrelBin), "conftest")
	if _, err := os.Stat(program); err != nil {
		if err := copyFile(program, filepath.Join(dir, "conftest")); err != nil {
			t.Fatal(err)
		}
	}
	h := asUser(t)
	policy := filepath.Dir(h.write("policy/team.rego", `package cowork.access

import rego.v1

governs := {"write", "delete", "exec"}

default allow := false

allow if true

deny contains {"rule": "migrations", "msg": "people write migrations"} if {
	input.operation in {"write", "delete"}
	startswith(input.path, "/workspace/migrations/")
}
`))
	h.expect(h.inside("mkdir migrations; echo x > migrations/1.sql; echo y > fine.txt", "--policy", policy), 0)
	inputs := h.write("repo/actions.yaml", h.must("policy", "inputs").out)
	r := h.start("", program, "test", inputs, "--policy", policy, "--namespace", "cowork.access", "--output", "json")
	var results []struct {
		Successes int
		Failures  []struct{ Msg string }
	}
	if err := json.Unmarshal([]byte(r.out), &results); err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
	failures := 0
	for _, one := range results {
		for _, f := range one.Failures {
			failures++
			if f.Msg != "people write migrations" {
				t.Errorf("it fails with %q", f.Msg)
			}
		}
	}
	denied := 0
	for _, f := range h.review().Withheld {
		if strings.HasPrefix(string(f.Path), "migrations/") && f.Decision.Verdict == "deny" {
			denied++
		}
	}
	if r.code == 0 || denied == 0 || failures != denied {
		t.Errorf("Conftest fails %d, the desk withheld %d\n%s\n%s", failures, denied, r, h.read("repo/actions.yaml"))
	}
	fine := h.write("repo/fine.yaml", h.must("policy", "inputs", "--operation", "exec").out)
	h.expect(h.start("", program, "test", fine, "--policy", policy, "--namespace", "cowork.access"), 0)
}
