//go:build linux

package e2e

import (
	"os"
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

// Where most files belong to a group that the desk has not, as in a shared
// directory, the agent works on a copy; where a few do, it is told.
func TestWorkspaceOfAnotherGroup(t *testing.T) {
	needs.Root(t)
	asEachUser(t, func(h *host) {
		const group = 4242
		chown := func(names ...string) {
			for _, name := range names {
				if err := os.Chown(filepath.Join(h.repo, name), h.uid, group); err != nil {
					h.Fatal(err)
				}
			}
		}
		chown("README.md")
		r := h.inside("echo more >> main.sh; echo more >> README.md")
		h.expect(r, 1, "README.md belongs to user", "--staging copy")
		chown("main.sh", ".git")
		r = h.inside("echo more >> main.sh; echo more >> README.md", "--fresh")
		h.expect(r, 0, "working on a copy", "as with 3 of 3 here")
		if c := h.review(); len(c.Files) != 2 {
			h.Errorf("%+v", c.Files)
		}
		h.approveAndApply()
		if h.read("repo/README.md") != "sample\nmore\n" {
			h.Error("it was not applied")
		}
	})
}

// A file system in user space, which as a rule cannot exchange two files: the
// agent works, the tree is left alone with the reason, and a branch is made.
func TestWorkspaceInUserSpace(t *testing.T) {
	needs.Root(t)
	needs.Tool(t, "bindfs")
	asEachUser(t, func(h *host) {
		real := filepath.Join(h.dir, "real")
		if err := os.Rename(h.repo, real); err != nil {
			h.Fatal(err)
		}
		h.mkdir(h.repo)
		if err := loudly(h.dir, "bindfs", "-o", "allow_other", real, h.repo); err != nil {
			h.Fatal(err)
		}
		h.Cleanup(func() { _ = unix.Unmount(h.repo, unix.MNT_DETACH) })
		h.expect(h.inside("echo more >> README.md; echo new > new; git status --porcelain"), 0, " M README.md\n?? new")
		h.must("review", "--stat", "--no-pager")
		h.must("approve", "--reason", "test")
		h.expect(h.carrel("apply"), 1, "cannot exchange two files", "--branch")
		if h.read("repo/README.md") != "sample\n" || h.exists("repo/new") {
			h.Error("something was applied")
		}
		h.must("apply", "--branch", "work")
		if got := h.git("show", "work:README.md"); got != "sample\nmore" {
			h.Errorf("the branch has %q", got)
		}
	})
}
