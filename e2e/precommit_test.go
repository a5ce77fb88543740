//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/carrel-dev/carrel/internal/needs"
)

// The hooks that this project offers, with the real pre-commit.
func TestPreCommitHooks(t *testing.T) {
	needs.Tool(t, "pre-commit")
	h := asUser(t)
	definition, err := os.ReadFile("../.pre-commit-hooks.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// A repository that offers the hooks, as this one does at a tag.
	h.write("hooks/.pre-commit-hooks.yaml", string(definition))
	hooks := filepath.Join(h.dir, "hooks")
	h.git("-C", hooks, "init", "-q", "-b", "main")
	h.git("-C", hooks, "add", "-A")
	h.git("-C", hooks, "commit", "-q", "-m", "hooks")
	rev := h.git("-C", hooks, "rev-parse", "HEAD")
	h.write("repo/.pre-commit-config.yaml", `repos:
  - repo: `+hooks+`
    rev: `+rev+`
    hooks:
      - id: carrel-check-change
        args: [--policy, policy]
      - id: carrel-policy-test
      - id: carrel-policy-check
      - id: carrel-evidence
`)
	h.write("repo/policy/team.rego", `package cowork.access

import rego.v1

default allow := false

allow if startswith(input.path, "/workspace/")

deny contains {"rule": "migrations", "msg": "people write migrations"} if startswith(input.path, "/workspace/migrations/")
`)
	h.write("repo/policy/team_test.rego", `package cowork.access_test

import rego.v1

import data.cowork.access

test_migrations if count(access.deny) == 1 with input as {"operation": "write", "path": "/workspace/migrations/1.sql"}
`)
	h.git("add", "-A")
	h.git("commit", "-q", "-m", "policy")
	h.env = append(h.env, "PATH="+filepath.Dir(carrelBin)+":/usr/local/bin:/usr/bin:/bin", "PRE_COMMIT_HOME="+h.dir+"/cache/pre-commit")
	h.expect(h.start("", "pre-commit", "install"), 0)

	h.write("repo/fine.txt", "fine\n")
	h.git("add", "fine.txt")
	h.expect(h.start("", "git", "commit", "-m", "fine"), 0, "Passed")

	h.write("repo/migrations/1.sql", "drop table a;\n")
	h.git("add", "migrations")
	h.expect(h.start("", "git", "commit", "-m", "migration"), 1, "user/migrations", "people write migrations")
	// What is not staged is not judged, and a part of the index is.
	h.write("repo/other.txt", "other\n")
	h.git("add", "other.txt")
	h.expect(h.start("", "git", "commit", "-m", "other", "other.txt"), 0, "Passed")
	h.git("reset", "-q")

	h.write("repo/policy/team_test.rego", "package cowork.access_test\n\nimport rego.v1\n\ntest_wrong if false\n")
	h.git("add", "policy")
	h.expect(h.start("", "git", "commit", "-m", "broken test"), 1, "run the tests of the policy", "Failed")
	h.git("checkout", "-q", "HEAD", "policy")

	h.write("repo/a.sigstore.json", "{}\n")
	h.git("add", "a.sigstore.json")
	h.expect(h.start("", "git", "commit", "-m", "false evidence"), 1, "verify evidence", "Failed")
}
