//go:build !windows

package hook

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
)

// TestReadingOutsideOfTheWorkspace: programs, what is public of the system and
// passing files are read without asking; what is one person's, or may hold a
// secret, is put to the policy, whose floor refuses it.
func TestReadingOutsideOfTheWorkspace(t *testing.T) {
	p := testPlace(t)
	p.Temp = filepath.Join(filepath.Dir(p.Home), "temp")
	p.Labels = func(path string, _ []byte) []carrel.Label {
		if strings.HasSuffix(path, "id_rsa") {
			return []carrel.Label{{Name: "credential-file", Severity: carrel.SeverityHigh}}
		}
		return nil
	}
	scratch := fmt.Sprintf("claude-%d/-home-project/3f/", os.Getuid())
	for name, mode := range map[string]os.FileMode{
		"out.txt": 0o644, "run/log": 0o644, "krb5cc_1000": 0o600, "shut/x": 0o644, ".env": 0o644, "run/.ssh/config": 0o644, "id_rsa": 0o644,
		scratch + "tasks/b1.output": 0o600, scratch + "scratchpad/n.md": 0o600, scratch + "other/x": 0o600, "claude-99999/p/s/tasks/b1.output": 0o600,
	} {
		place(t, filepath.Join(p.Temp, name), mode)
	}
	for name, mode := range map[string]os.FileMode{".": 0o777, "run": 0o755, "run/.ssh": 0o755, "shut": 0o700} {
		if err := os.Chmod(filepath.Join(p.Temp, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	for dir := filepath.Dir(p.Temp); strings.Contains(dir, t.Name()); dir = filepath.Dir(dir) { // only what this test made
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(p.Home, ".ssh/id_ed25519")
	place(t, secret, 0o644)
	if err := os.Symlink(secret, filepath.Join(p.Temp, "link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ command, want string }{
		{"grep -r foo /usr/include", ""},
		{"cat /etc/os-release /etc/ssl/certs/ca-certificates.crt /proc/cpuinfo", ""},
		{"cp TEMP/out.txt .", ""},
		{"tail TEMP/run/log", ""},
		{"cat TEMP/" + scratch + "tasks/b1.output", ""},
		{"echo x > TEMP/" + scratch + "scratchpad/new.md", ""},
		{"cat TEMP/krb5cc_1000", "read TEMP/krb5cc_1000"},
		{"cat TEMP/shut/x", "read TEMP/shut/x"},
		{"cat TEMP/.env", "read TEMP/.env"},
		{"cat TEMP/run/.ssh/config", "read TEMP/run/.ssh/config"},
		{"cat TEMP/id_rsa", "read TEMP/id_rsa"},
		{"cat TEMP/link", "read HOME/.ssh/id_ed25519"},
		{"cat TEMP/none", "read TEMP/none"},
		{"grep -r x TEMP/run", "read TEMP/run"},
		{"cat TEMP/claude-99999/p/s/tasks/b1.output", "read TEMP/claude-99999/p/s/tasks/b1.output"},
		{"cat TEMP/" + scratch + "other/x", "read TEMP/" + scratch + "other/x"},
		{"echo x > TEMP/out.txt", "write TEMP/out.txt"},
		{"rm TEMP/out.txt", "delete TEMP/out.txt"},
		{"cat ~/.ssh/id_ed25519", "read HOME/.ssh/id_ed25519"},
		{"cat ~/.netrc", "read HOME/.netrc"},
		{"cat /etc/shadow", "read /etc/shadow"},
		{"cat /etc/hosts", "read /etc/hosts"},
		{"cat /proc/self/environ", "read /proc/"},
	} {
		names := strings.NewReplacer("TEMP", p.Temp, "HOME", p.Home)
		actions, err := p.Actions(bash(names.Replace(c.command), p.Workspace))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range actions {
			if a.Operation != carrel.OpExec {
				got = append(got, shown(a))
			}
		}
		if all, want := strings.Join(got, ";"), names.Replace(c.want); all != want && (!strings.HasSuffix(want, "/") || !strings.HasPrefix(all, want)) {
			t.Errorf("%s: %q, want %q", c.command, all, want)
		}
	}
}

func place(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func bash(command, cwd string) Call {
	return Call{Tool: "Bash", Input: []byte(fmt.Sprintf(`{"command":%q}`, command)), Cwd: cwd}
}
