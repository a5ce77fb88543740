package native

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/needs"
	"github.com/carrel-dev/carrel/internal/sandbox"
)

// Machines that are not this one, by the settings that tell them.
func TestCauseAndNextStepOfMissingNamespaces(t *testing.T) {
	const (
		userns   = "/proc/sys/user/max_user_namespaces"
		debian   = "/proc/sys/kernel/unprivileged_userns_clone"
		apparmor = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
	)
	for _, c := range []struct {
		name       string
		uid        int
		settings   map[string]string
		err        error
		cause, fix string
	}{
		{"switched off", 1000, map[string]string{userns: "0"}, unix.ENOSPC, "switched off", "user.max_user_namespaces="},
		{"switched off for root too", 0, map[string]string{userns: "0"}, unix.ENOSPC, "switched off", "user.max_user_namespaces="},
		{"for root only", 1000, map[string]string{userns: "9", debian: "0"}, unix.EPERM, "for root only", "unprivileged_userns_clone=1"},
		{"Ubuntu", 1000, map[string]string{userns: "9", apparmor: "1"}, unix.EACCES, "AppArmor", "carrel doctor --fix"},
		{"Ubuntu, root in a container", 0, map[string]string{userns: "9", apparmor: "1"}, unix.EPERM, "as containers do", "seccomp=unconfined"},
		{"Ubuntu, not restricted", 1000, map[string]string{userns: "9", apparmor: "0"}, unix.EPERM, "as containers do", "seccomp=unconfined"},
		{"a container", 1000, nil, unix.EPERM, "as containers do", "seccomp=unconfined"},
		{"used up", 1000, map[string]string{userns: "9"}, unix.ENOSPC, "no space", "end other runs"},
		{"nothing known", 1000, nil, unix.ENOMEM, "cannot allocate memory", ""},
	} {
		err := noNamespaces(c.err, c.uid, func(path string) string { return c.settings[path] })
		var s *sandbox.StartError
		if !errors.As(err, &s) || s.Code != codeOwn || !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.cause) || !strings.Contains(s.Fix, c.fix) || (c.fix == "") != (s.Fix == "") {
			t.Errorf("%s: %+v", c.name, err)
		}
	}
}

func TestAppArmorProfileNamesOnlyThisProgram(t *testing.T) {
	got := AppArmorProfile(`/opt/a b/{carrel}*`)
	for _, want := range []string{`profile carrel "/opt/a b/\{carrel\}\*" flags=(unconfined)`, "userns,", "abi <abi/4.0>"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}

// The parser reads the profile, but for the two lines that only the version
// of systems with this rule (4.0) knows.
func TestAppArmorProfileIsReadByItsParser(t *testing.T) {
	needs.Tool(t, "apparmor_parser")
	read := func(profile string) (string, error) {
		name := filepath.Join(t.TempDir(), "carrel")
		if err := os.WriteFile(name, []byte(profile), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("apparmor_parser", "--skip-kernel-load", "--skip-cache", "--names", name).CombinedOutput()
		return string(out), err
	}
	for _, path := range []string{"/usr/local/bin/carrel", `/opt/a b/{carrel}*"?[x]^@\end`} {
		profile := strings.Replace(AppArmorProfile(path), "abi/4.0", "abi/3.0", 1)
		if out, err := read(strings.Replace(profile, "userns,", "", 1)); err != nil || !strings.Contains(out, "carrel") {
			t.Errorf("%s: %v: %s", path, err, out)
		}
		if out, err := read(strings.Replace(profile, "userns,", "no rule", 1)); err == nil {
			t.Errorf("the parser reads anything: %s", out)
		}
	}
}
