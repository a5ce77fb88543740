//go:build linux

package ahead

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOnlyRunsAreWanted(t *testing.T) {
	for line, want := range map[string]bool{
		"carrel run -- true":             true,
		"carrel run --fresh -- true":     true,
		"carrel run true":                true,
		"carrel run -- true --dry-run":   true, // the agent's flag
		"carrel run --dry-run -- true":   false,
		"carrel run --dry-run=1 -- true": false,
		"carrel run --help":              false,
		"carrel run":                     false,
		"carrel":                         false,
		"carrel review run":              false,
		"carrel-init run x":              false,
		"/proc/self/fd/carrel-init hold": false,
	} {
		if got := wanted(strings.Fields(line)); got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
}

// PID 1's program is started from there before anything else has looked.
func TestOnlyAPrivateDirectoryIsTrusted(t *testing.T) {
	dir := t.TempDir()
	for mode, want := range map[os.FileMode]bool{0o700: true, 0o755: false, 0o770: false, 0o700 | os.ModeSticky: false} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if got := private(dir); got != want {
			t.Errorf("%v: %v", mode, got)
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if private(link) || private(filepath.Join(dir, "absent")) {
		t.Error("a link, or nothing, passes for a private directory")
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if private(dir) {
			t.Error("somebody else's directory passes for ours")
		}
	}
}
