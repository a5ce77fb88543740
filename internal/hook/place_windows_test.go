package hook

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A path that leads out of the workspace is not taken for one inside, however
// Windows or its shells write it.
func TestAttackPathsOfWindows(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(root, "work")
	if err := os.MkdirAll(filepath.Join(work, "src"), 0o700); err != nil {
		t.Fatal(err)
	}
	p := Place{Workspace: work, Home: filepath.Join(root, "home")}
	volume := filepath.VolumeName(work)
	rooted := work[len(volume):]
	shell := "/" + strings.ToLower(volume[:1]) + filepath.ToSlash(rooted)

	for _, path := range []string{
		`\Users\x\.ssh\authorized_keys`, "/Users/x/.ssh/authorized_keys", `..\x`, `src\..\..\x`, "/tmp/x", `\\server\share\x`, `//server/share/x`,
		volume + "x", volume + `..\x`, `NUL`, `~\.ssh\id_rsa`, "~/.ssh/id_rsa", "~", shell + "/../x", "/q/x", "/",
	} {
		if got := p.path(path, work); got == "/workspace" || strings.HasPrefix(got, "/workspace/") {
			t.Errorf("%s was taken for %s", path, got)
		}
	}
	for _, path := range []string{
		`src\x`, "src/x", work + `\src\x`, filepath.ToSlash(work) + "/src/x", rooted + `\src\x`, filepath.ToSlash(rooted) + "/src/x",
		shell + "/src/x", `..\work\src\x`, strings.ToUpper(work) + `\src\x`,
	} {
		if got := p.path(path, work); got != "/workspace/src/x" {
			t.Errorf("%s was taken for %s", path, got)
		}
	}
	for path, want := range map[string]bool{`C:\x\*`: true, `\x\*`: true, "/c/x/*": true, `C:x\*`: true, `~\x*`: true, `src\*`: false, "src/*": false} {
		if anchored(path) != want {
			t.Errorf("%s: anchored is not %v", path, want)
		}
	}
}
