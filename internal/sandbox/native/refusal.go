package native

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

const codeOwn = 125

func refusal(format string, args ...any) error {
	return &sandbox.StartError{Code: codeOwn, Err: fmt.Errorf(format, args...)}
}

// whyNoNamespaces says what on this machine forbids namespaces, and the one
// thing that mends it.
func whyNoNamespaces(err error) error { return noNamespaces(err, os.Geteuid(), setting) }

// noNamespaces is whyNoNamespaces for user uid of a machine with these settings.
func noNamespaces(err error, uid int, setting func(path string) string) error {
	s := &sandbox.StartError{Code: codeOwn, Err: fmt.Errorf("making the desk's namespaces: %w", err)}
	switch {
	case setting("/proc/sys/user/max_user_namespaces") == "0":
		s.Err = fmt.Errorf("user namespaces are switched off (user.max_user_namespaces is 0): %w", err)
		s.Fix = "sudo sysctl -w user.max_user_namespaces=15000"
	case setting("/proc/sys/kernel/unprivileged_userns_clone") == "0" && uid != 0:
		s.Err = fmt.Errorf("user namespaces are for root only (kernel.unprivileged_userns_clone is 0): %w", err)
		s.Fix = "sudo sysctl -w kernel.unprivileged_userns_clone=1"
	case appArmorRestricts(uid, setting):
		s.Err = fmt.Errorf("AppArmor keeps programs without a profile from user namespaces: %w", err)
		s.Fix = "carrel doctor --fix"
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS):
		s.Fix = "end other runs, or raise user.max_user_namespaces and its neighbours under /proc/sys/user"
	case errors.Is(err, unix.EPERM):
		s.Err = fmt.Errorf("this machine refuses user namespaces, as containers do by their seccomp profile: %w", err)
		s.Fix = "run Carrel on the host, or start the container with --security-opt seccomp=unconfined --security-opt systempaths=unconfined"
	}
	return s
}

func setting(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// appArmorRestricts reports Ubuntu's rule, which lets the clone succeed and
// then takes every capability inside.
func appArmorRestricts(uid int, setting func(path string) string) bool {
	return uid != 0 && setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1"
}

// AppArmorProfile returns the profile that lets the program at path make user
// namespaces on systems that restrict them to known programs.
func AppArmorProfile(path string) string {
	return fmt.Sprintf(`abi <abi/4.0>,
include <tunables/global>

profile carrel %s flags=(unconfined) {
  userns,

  include if exists <local/carrel>
}
`, quoteAppArmor(path))
}

// quoteAppArmor writes a path as a pattern that matches it and nothing else.
func quoteAppArmor(path string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(path) {
		if strings.IndexByte(`*?[]{}^"\@`, c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	b.WriteByte('"')
	return b.String()
}
