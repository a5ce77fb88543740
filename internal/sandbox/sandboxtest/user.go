package sandboxtest

import (
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/carrel-dev/carrel/internal/sandbox/sandboxtest/kernel"
)

// account is the ordinary user that tests started by root also run as.
const account = "carreltest"

// Ordinary runs the named test of this binary again as an ordinary user, who
// is created where there is none. A test that runs as an ordinary user
// already has nothing to repeat.
func Ordinary(t *testing.T, test string) {
	if os.Geteuid() != 0 {
		return
	}
	u := ordinaryUser(t)
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	dir, err := os.MkdirTemp("", "carreltest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	bin := copySelf(t, dir)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-test.run", "^"+test+"$", "-test.v", "-test.timeout=10m")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "CI=" + os.Getenv("CI")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	out, err := cmd.CombinedOutput()
	t.Logf("as %s:\n%s", account, out)
	if err != nil {
		t.Errorf("as %s: %v", account, err)
	}
}

// OnKernel runs those cases of the suite that are walls again, on a kernel
// that lacks something (of package kernel). The named test must run the suite.
func OnKernel(t *testing.T, lacks, test string) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range cases {
		if c.wall {
			names = append(names, c.name)
		}
	}
	cmd := exec.Command(self, kernel.Verb, lacks, "--", self, "-test.run", "^"+test+"$/^("+strings.Join(names, "|")+")$", "-test.v")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, name := range names {
		if !strings.Contains(string(out), "--- PASS: "+test+"/"+name+" ") && !strings.Contains(string(out), "--- SKIP: "+test+"/"+name+" ") {
			t.Errorf("%s did not pass", name)
		}
	}
}

func ordinaryUser(t *testing.T) *user.User {
	t.Helper()
	if u, err := user.Lookup(account); err == nil {
		return u
	}
	out, err := exec.Command("useradd", "--no-create-home", "--shell", "/usr/sbin/nologin", account).CombinedOutput()
	if err != nil {
		t.Fatalf("making the ordinary user %s: %v: %s", account, err, out)
	}
	u, err := user.Lookup(account)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func copySelf(t *testing.T, dir string) string {
	t.Helper()
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	name := filepath.Join(dir, "test")
	to, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}
