//go:build linux

package e2e

import (
	"net"
	"testing"
)

// userPolicy is a policy as people write one, in the old syntax: it says
// nothing of networks or of deleting.
const userPolicy = `package cowork.access

default allow = false

allow {
	input.operation == "write"
	startswith(input.path, "/workspace/")
}

deny {
	startswith(input.path, "/home/")
	contains(input.path, ".ssh")
}
`

func TestUserPolicyGovernsFilesOnly(t *testing.T) {
	asEachUser(t, func(h *host) {
		addr, _ := h.listen("tcp", "127.0.0.1:0")
		_, port, _ := net.SplitHostPort(addr)
		policy := h.write("policy.rego", userPolicy)
		r := h.inside("echo x > made; rm README.md; "+probeBin+" tcp web.desk:"+port+" x", "--policy", policy, "--host-service", "web="+addr)
		h.expect(r, 0, canary)
		c := h.review()
		if _, ok := find(c.Files, "made"); !ok {
			h.Errorf("the allowed file is missing: %+v", c)
		}
		if f, ok := find(c.Withheld, "README.md"); !ok || f.Change != "delete" || len(f.Decision.Rules) == 0 {
			h.Errorf("the deletion is not withheld with a rule: %+v", c)
		}
		h.approveAndApply()
		if !h.exists("repo/made") || !h.exists("repo/README.md") {
			h.Error("want the allowed file and not the deletion")
		}
	})
}

func TestPolicyThatCannotBeReadStopsTheRun(t *testing.T) {
	h := asUser(t)
	broken := h.write("broken.rego", "package cowork.access\nallow {{{\n")
	h.expect(h.inside("echo ran", "--policy", broken), 125, "broken.rego")
	h.expect(h.inside("echo ran", "--policy", h.dir+"/missing.rego"), 125, "missing.rego")
}
