package sandboxtest

import (
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

const probePath = "/probe"

// Run runs the suite on a tier, as the user the test runs as.
func Run(t *testing.T, tier sandbox.Tier) {
	t.Run("ProgramRuns", func(t *testing.T) { programRuns(&bed{t, tier, t.TempDir()}) })
}

func programRuns(b *bed) {
	out := b.sh("id -u; pwd; echo hi > f; cat f; ls -la /; ls -la /dev /proc/self/fd; cat /proc/self/status | grep -i cap; cat /proc/self/mountinfo; tty; cat /proc/1/status | grep -i 'cap\\|seccomp\\|NoNew'; echo err >&2; ps aux")
	b.t.Log(out)
	if !strings.Contains(out, "/workspace") {
		b.t.Error("not in the workspace")
	}
}
