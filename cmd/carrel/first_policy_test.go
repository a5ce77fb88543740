//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestFirstPolicyPage runs what docs/first-policy.md tells a newcomer to type,
// in order and as it stands.
func TestFirstPolicyPage(t *testing.T) {
	var script, files strings.Builder
	script.WriteString("repo project\n")
	for i, commands := range examples(t, "docs/first-policy.md", "sh") {
		fmt.Fprintf(&script, "exec sh -e $WORK/step%d.sh\n", i)
		fmt.Fprintf(&files, "-- step%d.sh --\n%s", i, commands)
	}
	script.WriteString(`exec carrel policy test policy
stdout '10 passed, 0 failed'
exec carrel policy show
stdout 'user1 \(user\), asked about delete, exec, write'
stdout 'access.rego:[0-9]+  deny contains'
exec sh -c 'carrel run --fresh -- sh -c "mkdir -p api/generated; echo x > api/generated/a; echo y > b"'
exec carrel review --stat --no-pager
stdout 'generated files are not written by hand'
`)
	dir := t.TempDir()
	text := script.String() + "-- project/README.md --\nhello\n" + files.String()
	if err := os.WriteFile(filepath.Join(dir, "first-policy.txtar"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: dir, RequireExplicitExec: true, Setup: setupScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"repo": makeRepo},
	})
}
