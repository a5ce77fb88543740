//go:build linux

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/internal/needs"
)

// Versions of what is installed for the tests of real programs.
const (
	claudeVersion = "2.1.330"
	codexVersion  = "0.169.0"
	geminiVersion = "0.61.0"
	goProject     = "github.com/google/uuid@v1.3.1" // later ones test that version 6 is monotonic, which it is not every 0.4 ms
	nodeProject   = "express@4.21.2"
	pythonProject = "python3-simplejson" // of Debian: it ships its tests, and a compiled part
	debugger      = "github.com/go-delve/delve/cmd/dlv@v1.27.2"
	conftest      = "github.com/open-policy-agent/conftest@v0.71.1"
)

// installed returns the directory of a pinned thing in the cache of these
// tests, made by make if it is not there. Where it cannot be had the test
// ends as any whose machine lacks something.
func installed(t *testing.T, name string, make func(dir string) error) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "carrel-e2e", strings.NewReplacer("/", "_", "@", "-").Replace(name))
	if _, err := os.Stat(filepath.Join(dir, ".complete")); err == nil {
		return dir
	}
	_ = os.RemoveAll(dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := make(dir); err != nil {
		needs.Missing(t, name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".complete"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// loudly runs a command of an installation in dir.
func loudly(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return &installError{strings.Join(cmd.Args, " "), err, string(out)}
	}
	return nil
}

type installError struct {
	command string
	err     error
	out     string
}

func (e *installError) Error() string { return e.command + ": " + e.err.Error() + "\n" + e.out }

// debianPackage returns the directory of a package's files, unpacked without
// installing it. Apt must know its packages, which .ci/prepare sees to.
func debianPackage(t *testing.T, name string) string {
	t.Helper()
	return installed(t, name, func(dir string) error {
		if err := loudly(dir, "apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", name); err != nil {
			return err
		}
		return loudly(dir, "sh", "-c", "dpkg --extract ./*.deb . && rm ./*.deb")
	})
}

// public copies a program to a place that every user may read.
func public(t *testing.T, program string) string {
	t.Helper()
	to := filepath.Join(filepath.Dir(carrelBin), filepath.Base(program))
	if _, err := os.Stat(to); err != nil {
		if err := copyFile(to, program); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// show puts a directory where every user may see it, by links where that is on
// one disk: it may have hundreds of megabytes.
func show(t testing.TB, dir, to string) {
	t.Helper()
	if loudly(dir, "cp", "-al", dir, to) == nil {
		return
	}
	if err := errors.Join(os.RemoveAll(to), loudly(dir, "cp", "-a", dir, to)); err != nil {
		t.Fatal(err)
	}
}

// claudeProgram installs the real client and returns its native program, at a
// place that every user may read.
func claudeProgram(t *testing.T) string {
	t.Helper()
	dir := installed(t, "claude-code@"+claudeVersion, func(dir string) error {
		return loudly(dir, "npm", "install", "--prefix", dir, "--ignore-scripts", "--no-fund", "--no-audit", "@anthropic-ai/claude-code@"+claudeVersion)
	})
	found, err := filepath.Glob(filepath.Join(dir, "node_modules/@anthropic-ai/claude-code-linux-*/claude"))
	if err != nil || len(found) == 0 {
		t.Fatalf("the native client is not below %s (%v)", dir, err)
	}
	return public(t, found[0])
}
