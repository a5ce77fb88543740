package native_test

import (
	"os"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/internal/needs"
	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
	"github.com/carrel-dev/carrel/internal/sandbox/sandboxtest"
)

func tier() sandbox.Tier { return native.New(native.Options{}) }

func TestMain(m *testing.M) {
	if os.Args[0] == desk.Name {
		os.Exit(desk.Main())
	}
	if code, done := sandboxtest.Main(tier); done {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// The suite runs as whoever runs the tests, and, if that is root, as an
// ordinary user too.
func TestSuite(t *testing.T) { sandboxtest.Run(t, tier()) }

func TestSuiteAsOrdinaryUser(t *testing.T) { sandboxtest.Ordinary(t, "TestSuite") }

// The walls hold whatever the kernel's Landlock is: it is the second one.
func TestWallsWithLesserLandlock(t *testing.T) {
	for _, lacks := range []string{"landlock", "landlock-1", "landlock-3"} {
		t.Run(lacks, func(t *testing.T) { sandboxtest.OnKernel(t, lacks, "TestSuite") })
	}
}

func TestWallsWithLesserLandlockAsOrdinaryUser(t *testing.T) {
	sandboxtest.Ordinary(t, "TestWallsWithLesserLandlock")
}

// Containers cover parts of /proc; the kernel then allows no other.
func TestCoveredProcIsRefusedWithTheReason(t *testing.T) {
	needs.Root(t)
	out := sandboxtest.Probe(t, "unshare", "--mount", "sh", "-c", `mount --bind /dev/null /proc/timer_list && exec "$@"`, "sh")
	if !strings.HasPrefix(out, "not files: mounting /proc: the host's /proc is covered") || !strings.Contains(out, "systempaths=unconfined") {
		t.Error(out)
	}
	if out := sandboxtest.Probe(t, "unshare", "--mount"); !strings.HasPrefix(out, "enforced files") {
		t.Errorf("with a whole /proc: %s", out)
	}
}
