// Package needs says what a test needs of the machine: root, a program, a
// feature of the kernel. What is missing fails the test, by name, where the
// variable CI is set, since it would otherwise never be tried; elsewhere it
// skips the test. It is for tests only, and is trusted with nothing.
package needs

import (
	"os"
	"os/exec"
	"testing"
)

// againVar says, in the environment of tests that AsUser started, that root
// runs them too. Nothing else sets it.
const againVar = "CARREL_TEST_AGAIN"

// Missing ends a test that cannot run for want of something. The cause may be
// nil.
func Missing(t testing.TB, what string, cause error) {
	t.Helper()
	why := "missing here: " + what
	if cause != nil {
		why += ": " + cause.Error()
	}
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// Tool ends a test where one of these programs, names or paths, is missing.
func Tool(t testing.TB, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			Missing(t, name+" (.ci/prepare installs what tests use)", nil)
		}
	}
}

// Root ends a test that an ordinary user cannot set up. Root runs it, and if
// root then runs tests again as an ordinary user there is nothing to miss.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv(againVar) != "" {
		t.Skip("root, who runs these tests again, has run this one")
	}
	Missing(t, "root: in CI tests run as root, so that both kinds of user are tried", nil)
}

// Ordinary ends a test that says nothing where root runs it. It must be named
// in a call of AsUser.
func Ordinary(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("root runs this again as an ordinary user")
	}
}

// Long ends a test that takes seconds, where somebody asked for short ones.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds, and -short was asked for")
	}
}
