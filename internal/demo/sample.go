package demo

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
)

//go:embed agent.sh
var agentScript string

// sampleFiles are what the sample is made of, by path in the demo's
// directory. %s in a file is where the directory is.
var sampleFiles = map[string]string{
	"repo/README.md": "# greet\n\nSays hello.\n",
	"repo/greet.sh":  "# greet NAME says hello to NAME, or to the world.\ngreet() { echo \"Hello, ${1:-world}!\"; }\n",
	"repo/.github/workflows/ci.yml": `name: ci
on: [push]
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - run: sh test/greet_test.sh
`,
	"config/carrel/config.yaml": "# The user's own configuration. No host is named, so none is reached.\npolicy: [%s/policy.rego]\n",
	"policy.rego": `# The team's own rules for files, in Rego.
package cowork.access

default allow := false

allow if startswith(input.path, "/workspace/")

deny contains "continuous integration is changed by people" if {
	startswith(input.path, "/workspace/.github/")
}
`,
	"home/.gitconfig": "[user]\n\tname = Example User\n\temail = user@example.com\n",
}

// prepare makes the sample: a repository, a home with a private key, a
// configuration with one policy.
func (s *stage) prepare(ctx context.Context) error {
	s.canary = "canary-" + rand.Text()
	files := map[string]string{
		"home/.ssh/id_ed25519": "-----BEGIN OPENSSH PRIVATE KEY-----\n" + s.canary + "\n",
		"agent.sh":             agentScript,
	}
	for name, text := range sampleFiles {
		files[name] = text
	}
	files["config/carrel/config.yaml"] = fmt.Sprintf(sampleFiles["config/carrel/config.yaml"], s.dir)
	for name, text := range files {
		if err := put(s.path(filepath.FromSlash(name)), text); err != nil {
			return err
		}
	}
	for _, dir := range []string{"state", "cache", "data", "runtime"} {
		if err := os.MkdirAll(s.path(dir), 0o700); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"}, {"add", "-A"}, {"commit", "-q", "-m", "greet: say hello"},
	} {
		if _, err := s.git(ctx, args...); err != nil {
			return err
		}
	}
	s.say.section("A sample repository, and a secret beside it")
	s.say.line("", "repository  "+s.path("repo"))
	s.say.line("", "private key "+s.path("home", ".ssh", "id_ed25519"))
	s.say.line("", "policy      "+s.path("policy.rego")+": nobody but people changes .github/")
	return nil
}

func put(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	mode := os.FileMode(0o600)
	if filepath.Ext(path) == ".sh" {
		mode = 0o755
	}
	return os.WriteFile(path, []byte(text), mode)
}
