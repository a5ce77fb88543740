//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/carrel-dev/carrel/internal/needs"
	"github.com/carrel-dev/carrel/internal/policy"
)

// TestMain makes the real main a command of the scripts. It also is the first
// process of the desks that they start, and the evaluator of their policies.
func TestMain(m *testing.M) {
	if policy.Inside() || inside() {
		return
	}
	testscript.Main(m, map[string]func(){
		"carrel": func() { os.Exit(carrelMain()) },
	})
}

func TestScripts(t *testing.T) {
	needs.Tool(t, "git")
	testscript.Run(t, testscript.Params{
		Dir:                 scripts(),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setupScript,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"repo": makeRepo, "digest": readDigest, "witness": witnesses},
	})
}

const scriptsVar = "CARREL_TEST_SCRIPTS"

// scripts is where they are: elsewhere where root runs them as somebody else.
func scripts() string {
	if dir := os.Getenv(scriptsVar); dir != "" {
		return dir
	}
	return filepath.Join("testdata", "script")
}

// What is kept, signed and taken back belongs to whoever runs Carrel: most
// often no root.
func TestScriptsAsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	dir, err := os.MkdirTemp("", "carrel-scripts-") // not t.TempDir, which only root may enter
	if err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		err = errors.Join(os.Chmod(dir, 0o755), os.CopyFS(filepath.Join(dir, "script"), os.DirFS(scripts())))
	}
	if err != nil {
		t.Fatal(err)
	}
	needs.AsUser(t, "^TestScripts$/^(main-job|apply-auto|apply-interrupted|apply-unrecorded|evidence|identity|killed|log|one-road|prune|verify-range|why)$", scriptsVar+"="+filepath.Join(dir, "script"))
}

// setupScript gives every script a home and a state of its own.
func setupScript(env *testscript.Env) error {
	home := filepath.Join(env.WorkDir, "home")
	env.Setenv("HOME", home)
	env.Setenv("XDG_STATE_HOME", filepath.Join(home, ".local/state"))
	env.Setenv("XDG_DATA_HOME", filepath.Join(home, ".local/share"))
	env.Setenv("XDG_CONFIG_HOME", filepath.Join(home, ".config"))
	env.Setenv("NO_COLOR", "1")
	config := "[user]\n\tname = Example User\n\temail = user@example.com\n[init]\n\tdefaultBranch = main\n"
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o600)
}

// makeRepo makes a repository of a directory of the script and goes there.
func makeRepo(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: repo DIR")
	}
	dir := ts.MkAbs(args[0])
	for _, line := range []string{"init -q", "add -A", "commit -q -m base"} {
		ts.Check(ts.Exec("git", append([]string{"-C", dir}, strings.Fields(line)...)...))
	}
	ts.Check(ts.Chdir(args[0]))
}

// readDigest puts the digest of the newest change into $DIGEST.
func readDigest(ts *testscript.TestScript, neg bool, _ []string) {
	ts.Check(ts.Exec("carrel", "review", "--json"))
	out := ts.ReadFile("stdout")
	_, rest, ok := strings.Cut(out, `"digest": "sha256:`)
	if neg || !ok {
		ts.Fatalf("no digest in %s", out)
	}
	ts.Setenv("DIGEST", rest[:64])
}
