//go:build linux

package e2e

import (
	"path/filepath"
	"testing"
)

func TestDemoHolds(t *testing.T) {
	asEachUser(t, func(h *host) {
		r := h.carrel("demo")
		h.expect(r, 0, "refused", "carrel/demo", "What held")
		if left, _ := filepath.Glob(filepath.Join(h.dir, "tmp", "carrel-demo-*")); len(left) > 0 {
			h.Errorf("left behind %v", left)
		}
	})
}

func TestDemoWithTheRealClientHolds(t *testing.T) {
	program := claudeProgram(t)
	h := asUser(t)
	h.env = append(h.env, "PATH="+filepath.Dir(program)+":/usr/bin:/bin")
	h.expect(h.carrel("demo", "--agent", "claude"), 0, "refused", "What held")
}
