package policy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func layerAt(t *testing.T, files map[string]string) (Layer, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := FromPath("user", User, dir)
	if err != nil {
		t.Fatal(err)
	}
	return l, dir
}

func TestTestsAndCoverage(t *testing.T) {
	l, dir := layerAt(t, map[string]string{
		"access.rego": fridays + "\nask contains \"keys\" if endswith(input.path, \".key\")\n",
		"access_test.rego": `package cowork.access_test

import rego.v1

import data.cowork.access

test_plain if access.allow with input as {"path": "/workspace/a"}

test_wrong if count(access.deny) == 1 with input as {"path": "/workspace/a"}

test_fails if to_number("x") == 1
`,
		"friday_test.yaml": `actions:
  - name: on a Friday
    input: {operation: write, path: /workspace/migrations/1.sql, time: "2026-11-20T10:00:00Z"}
    expect: deny
    rule: deny
  - name: on a Saturday
    input: {operation: write, path: /workspace/migrations/1.sql, time: "2026-11-21T10:00:00Z"}
    expect: allow
  - name: wrong verdict
    input: {operation: write, path: /workspace/.git/config}
    expect: ask
  - name: misspelt
    input: {operation: write, path: /workspace/a, usr: x}
    expect: allow
`,
	})
	r, err := Test(l, dir)
	if err != nil {
		t.Fatal(err)
	}
	var failed []string
	for _, result := range r.Tests {
		if !result.Pass {
			failed = append(failed, result.Name+": "+result.Error)
		}
	}
	want := []string{
		"data.cowork.access_test.test_wrong: not true", "data.cowork.access_test.test_fails: access_test.rego:11: eval_builtin_error: to_number: cannot parse number",
		"wrong verdict: deny, expected ask: the repository's own data", "misspelt: no policy sees usr",
	}
	if len(failed) != len(want) || r.Passed != 3 || r.Failed != 4 {
		t.Errorf("%d passed, %d failed: %q", r.Passed, r.Failed, failed)
	}
	for _, w := range want {
		if !slices.ContainsFunc(failed, func(f string) bool { return strings.HasPrefix(f, w[:min(len(w), 40)]) }) {
			t.Errorf("%q does not say %q", failed, w)
		}
	}
	if r.Coverage < 50 || r.Coverage >= 100 || len(r.Files) != 1 {
		t.Errorf("coverage %v %+v", r.Coverage, r.Files)
	}
}

func TestTablesAreStrict(t *testing.T) {
	for table, want := range map[string]string{
		"actions:\n  - input: {}\n    expected: allow\n": "expected", "actions:\n  - input: {}\n    expect: yes\n": "expect",
		"action: []\n": "action", "actions: [\n": "yaml",
	} {
		l, dir := layerAt(t, map[string]string{"a.rego": openHead, "a_test.yaml": table})
		if _, err := Test(l, dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", table, err, want)
		}
	}
	l, dir := layerAt(t, map[string]string{"a.rego": openHead})
	if _, err := Test(l, dir); err == nil || !strings.Contains(err.Error(), "no tests") {
		t.Error(err)
	}
}
