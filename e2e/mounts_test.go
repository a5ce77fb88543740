//go:build linux

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/needs"
)

// mount puts a file system of its own at a directory of the workspace.
func (h *host) mount(at, kind string) {
	h.Helper()
	needs.Root(h)
	path := filepath.Join(h.dir, at)
	h.mkdir(path)
	if err := unix.Mount(kind, path, kind, 0, ""); err != nil {
		h.Fatalf("mounting %s: %v", kind, err)
	}
	h.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	if kind == "tmpfs" {
		h.own(path)
	}
}

// A workspace with other file systems mounted inside is worked on, reviewed
// and applied like any: git works, and the agent's work in the mounts stays
// out of them until then.
func TestWorkspaceWithMountsInside(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.mount("repo/vol", "tmpfs")
		h.write("repo/vol/data", "1\n")
		h.mount("repo/vol/deep/inner", "tmpfs")
		h.write("repo/vol/deep/inner/i", "1\n")
		h.mount("repo/view", "mqueue") // a view of the machine
		for _, staging := range []string{"overlay", "copy"} {
			r := h.inside(`test -z "$(ls -A view)"
				cat vol/data vol/deep/inner/i
				git add main.sh && git commit -qam inside && git status --porcelain >/dev/null && git stash list
				echo 2 >> vol/data; echo 2 >> vol/deep/inner/i; mkdir -p vol/new; echo n > vol/new/`+staging+`; echo 2 >> main.sh`, "--fresh", "--staging", staging)
			h.expect(r, 0, "1\n", "view is not shown to the agent")
			if h.read("repo/vol/data") != "1\n" || h.exists("repo/vol/new/"+staging) {
				h.Errorf("%s: a mount was written to before the apply", staging)
			}
			c := h.review()
			for _, path := range []string{"vol/data", "vol/deep/inner/i", "vol/new/" + staging, "main.sh"} {
				if _, ok := find(c.Files, path); !ok {
					h.Errorf("%s: %s is not in the change", staging, path)
				}
			}
			h.approveAndApply()
			if h.read("repo/vol/data") != "1\n2\n" || h.read("repo/vol/deep/inner/i") != "1\n2\n" || h.read("repo/vol/new/"+staging) != "n\n" || !strings.HasSuffix(h.read("repo/main.sh"), "2\n") {
				h.Errorf("%s: not applied", staging)
			}
			h.write("repo/vol/data", "1\n")
			h.write("repo/vol/deep/inner/i", "1\n")
		}
		left, err := filepath.Glob(filepath.Join(h.dir, "repo", ".carrel-*"))
		inner, _ := filepath.Glob(filepath.Join(h.dir, "repo/vol", ".carrel-*"))
		if err != nil || len(left)+len(inner) > 0 {
			h.Errorf("left behind: %v %v %v", left, inner, err)
		}
	})
}
