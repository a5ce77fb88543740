package native_test

import (
	"testing"

	"github.com/carrel-dev/carrel/internal/sandbox/native"
	"github.com/carrel-dev/carrel/internal/sandbox/sandboxtest"
)

func BenchmarkTrue(b *testing.B) {
	sandboxtest.Bench(b, native.New(native.Options{InstallDir: b.TempDir()}))
}
