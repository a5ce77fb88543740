//go:build unix

package needs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Account is the name of the ordinary user that tests started by root also
// run as.
const Account = "carreltest"

// User returns the account of the ordinary user, made by root if there is
// none. It is one for all packages, whichever of them comes first.
func User() (*user.User, error) {
	if u, err := user.Lookup(Account); err == nil {
		return u, nil
	}
	out, err := exec.Command("useradd", "--create-home", "--shell", "/bin/bash", Account).CombinedOutput()
	u, lookup := user.Lookup(Account) // another package's tests may have made it meanwhile
	if lookup != nil {
		return nil, fmt.Errorf("making the user %s: %w: %s", Account, errors.Join(err, lookup), out)
	}
	return u, nil
}

// AsUser runs those tests of this binary again as the ordinary user that
// match the pattern, in an empty directory of that user's, and returns what
// they print. The test fails if one of them does, or none runs. Where an
// ordinary user runs the tests already there is nothing to repeat.
func AsUser(t *testing.T, pattern string, env ...string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		return ""
	}
	cmd, err := commandAsUser(t, env)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args = append(cmd.Args, "-test.run="+pattern, "-test.v", "-test.timeout=10m")
	out, err := cmd.CombinedOutput()
	passed := bytes.Count(out, []byte("--- PASS"))
	if err != nil || passed == 0 {
		t.Fatalf("as %s: %v\n%s", Account, err, out)
	}
	t.Logf("as %s: %d passed", Account, passed)
	return string(out)
}

// commandAsUser is this test binary, in a directory that the user owns.
func commandAsUser(t *testing.T, env []string) (*exec.Cmd, error) {
	u, err := User()
	if err != nil {
		return nil, err
	}
	// Not t.TempDir, which only root may enter.
	dir, err := os.MkdirTemp("", "carrel-user-")
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	binary := filepath.Join(dir, "again.test")
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := errors.Join(os.WriteFile(binary, self, 0o755), os.Chown(dir, uid, gid)); err != nil {
		return nil, err
	}
	cmd := exec.Command(binary)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "CI=" + os.Getenv("CI"), againVar + "=1"}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return cmd, nil
}
