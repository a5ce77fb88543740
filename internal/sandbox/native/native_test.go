package native_test

import (
	"os"
	"testing"

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
