//go:build linux

package e2e

import "testing"

// Every attack of the table, at a real desk, through everything.
func TestSelfTestHolds(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.carrel("selftest"), 0, "read ~/.ssh/id_ed25519 of the host", "trace the supervisor", "every wall held, and what must work works")
		if h.exists("state/carrel") {
			h.Error("the user's own state was used")
		}
	})
}
