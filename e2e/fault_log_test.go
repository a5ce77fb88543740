//go:build linux

package e2e

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every call with which an act on the log changes or reads a file fails in
// turn. Records that were there stay, and the act can be done again. What a
// power cut loses is a test of internal/audit.
func TestLogWhenTheDiskFails(t *testing.T) {
	for name, args := range map[string][]string{
		"checkpoint": {"log", "checkpoint"},
		"rotate-key": {"log", "rotate-key"},
		"retain":     {"log", "retain", "2"},
	} {
		t.Run(name, func(t *testing.T) {
			h := asUser(t)
			h.inside("true")
			h.failInEveryWay(attempt{
				args:  func(*host) []string { return args },
				check: func(h *host, r result) {},
				again: func(h *host) { h.must("log", "verify"); h.must("log", "checkpoint"); h.must("log", "verify") },
				ofLog: true,
			})
		})
	}
}

// Every call with which an apply changes or reads a file fails in turn. The
// tree then has all of the change or nothing of it, and it can be applied.
func TestApplyWhenTheDiskFails(t *testing.T) {
	for name, flags := range map[string][]string{"tree": nil, "branch": {"--branch", "work"}} {
		t.Run(name, func(t *testing.T) {
			h := asUser(t)
			h.inside("echo 1 > file-1; echo more >> README.md; rm main.sh; mkdir d; echo 2 > d/f")
			h.review()
			h.must("approve", "--reason", "disk")
			change := h.only("changes")
			h.failInEveryWay(attempt{
				args:  func(*host) []string { return append([]string{"apply", change}, flags...) },
				check: func(h *host, r result) { h.wholeOrNothing(r, len(flags) > 0) },
				redo:  func(h *host, _ result) result { return h.applyAtLast(change, flags) },
				again: func(h *host) { h.wholeOrNothing(result{}, len(flags) > 0) },
			})
		})
	}
}

// wholeOrNothing checks the tree, or the branch, after an apply that said r,
// once the next command has ended what was begun.
func (h *host) wholeOrNothing(r result, branch bool) {
	h.Helper()
	h.carrel("apply", "chg_00000000000000000000000000") // there is no such change
	const before, after = "README.md main.sh", "README.md d d/f file-1"
	got := h.listing()
	if branch {
		if got != before {
			h.Errorf("the tree is %q, and nothing was applied to it", got)
		}
		cmd := h.start("", "git", "ls-tree", "-r", "-t", "--name-only", "work")
		if got = strings.Join(strings.Fields(cmd.out), " "); cmd.code != 0 {
			got = before
		}
	}
	if got != after && (got != before || r.code == 0) {
		h.Errorf("there is %q, after %s", got, r)
	}
	if want := map[string]string{before: "sample\n", after: "sample\nmore\n"}[got]; !branch && h.read("repo/README.md") != want {
		h.Errorf("beside %q README.md is %q", got, h.read("repo/README.md"))
	}
}

// listing is every name in the tree, but for git's directory.
func (h *host) listing() string {
	h.Helper()
	cmd := exec.Command("find", ".", "-mindepth", "1", "-path", "./.git", "-prune", "-o", "-mindepth", "1", "-printf", "%P\n")
	cmd.Dir = filepath.Clean(h.repo)
	out, err := cmd.Output()
	if err != nil {
		h.Fatal(err)
	}
	names := strings.Fields(string(out))
	slices.Sort(names)
	return strings.Join(names, " ")
}

// applyAtLast applies a change, or, where that was done, attests it.
func (h *host) applyAtLast(change string, flags []string) result {
	h.Helper()
	again := func() result {
		r := h.carrel(append([]string{"apply", change}, flags...)...)
		if strings.Contains(r.err, "the branch exists already") { // made, and the result could not be recorded: nobody knows
			r = h.carrel("apply", change, "--branch", "work-again")
		}
		if strings.Contains(r.err, "was applied") {
			r = h.carrel("attest", change)
		}
		return r
	}
	r := again()
	if strings.Contains(r.err, "remove the file manually") { // as git asks where one of it was killed
		h.forget("repo/.git/refs/notes/carrel.lock", "repo/.git/refs/heads/work.lock")
		r = again()
	}
	return r
}
