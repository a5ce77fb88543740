//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/internal/sandbox/sandboxtest/kernel"
	"github.com/carrel-dev/carrel/verify"
)

// faultEvery is how many calls lie between two that are made to fail. With
// CARREL_CRASHES set it is every one.
const faultEvery = 97

// attempt is one command whose calls to the disk fail in turn.
type attempt struct {
	args  func(h *host) []string
	check func(h *host, r result)        // after the failure: nothing half made is taken for whole
	redo  func(h *host, r result) result // how a user goes on who is told r; nil: by the same command
	again func(h *host)                  // nothing fails any more
	ofLog bool                           // writes little else: internal/audit cuts the power
}

// Every call with which attesting, noting and packing change or read a file
// fails in turn, in each of kernel.Failures. What is then there is whole or not
// there at all, the log is right, and doing it again completes it.
func TestEvidenceWhenTheDiskFails(t *testing.T) {
	for name, a := range map[string]attempt{
		"attest":            {func(h *host) []string { return []string{"attest", h.only("changes")} }, (*host).attestedWholly, nil, func(h *host) { h.must("verify", "work") }, false},
		"evidence":          packing("pack"),
		"evidence, archive": packing("pack.tar.zst"),
	} {
		t.Run(name, func(t *testing.T) {
			h := asUser(t)
			h.approvedChange(1)
			h.must("apply", "--branch", "work")
			if name == "attest" { // as if apply had not come to it: the key is made as well
				h.forget("state/carrel/attestations", "state/carrel/keys/attestation.key", "state/carrel/keys/attestation.pub", "repo/.git/refs/notes")
			}
			h.failInEveryWay(a)
		})
	}
}

// failInEveryWay makes the calls of the command fail in each way, from where
// the host stands now.
func (h *host) failInEveryWay(a attempt) {
	h.Helper()
	saved := h.save()
	var table []string
	for _, how := range kernel.Failures {
		if how == kernel.Cut && a.ofLog {
			continue
		}
		struck := h.failInTurn(a, how, saved)
		if struck < 1 || faultStep() == 1 && struck < 5 {
			h.Errorf("only %d calls failed, %s: they are not found", struck, how)
		}
		table = append(table, fmt.Sprintf("%d %s", struck, how))
	}
	h.Logf("calls that failed: %s", strings.Join(table, ", "))
}

func faultStep() int {
	if os.Getenv("CARREL_CRASHES") != "" {
		return 1
	}
	return faultEvery
}

func packing(name string) attempt {
	return attempt{
		func(h *host) []string { return []string{"evidence", "latest", "-o", filepath.Join(h.dir, "out", name)} },
		func(h *host, r result) {
			if path := "out/" + name; r.code == 0 || h.exists(path) {
				h.must("verify", filepath.Join(h.dir, path))
				h.forget(path)
			}
		},
		nil,
		func(h *host) { h.must("verify", filepath.Join(h.dir, "out", name)) },
		false,
	}
}

// failInTurn runs the command with one failing call after the other, until
// there are no more, and returns how many failed.
func (h *host) failInTurn(a attempt, how kernel.Failure, saved string) (struck int) {
	h.Helper()
	for n := 1; ; n += faultStep() {
		h.restore(saved)
		h.mkdir(filepath.Join(h.dir, "out"))
		before := h.must("log", "show", "--all", "--json").out
		mark := filepath.Join(h.dir, "mark")
		dirs := h.onDisk(how)
		h.under = []string{probeBin, kernel.Verb, kernel.Fault(n, how, mark, dirs...), "--"}
		args := a.args(h)
		r := h.carrel(args...)
		h.under = nil
		if !h.exists("mark") {
			if r.code != 0 {
				h.Fatalf("nothing failed, and it failed: %s", r)
			}
			return struck
		}
		struck++
		what := fmt.Sprintf("%s %s (number %d)", how, strings.TrimSpace(h.read("mark")), n)
		h.forget("mark")
		if how == kernel.Short && r.code != 0 {
			h.Errorf("after %s, which the rest could have followed: %s", what, r)
		}
		a.check(h, r)
		if v := h.carrel("log", "verify"); v.code != 0 {
			h.Fatalf("after %s: %s\nthe log: %s", what, r, v)
		}
		if again := h.goOn(a, r, args); again.code != 0 {
			h.Fatalf("after %s failed (%s), again: %s", what, r, again)
		}
		h.nothingIsLost(before, what)
		a.again(h)
		if h.Failed() {
			h.Fatalf("after %s: %s", what, r)
		}
	}
}

// onDisk are the directories in which calls fail. A log knows by the machine's
// boot that the power was cut, which here it was not: its own tests do that.
func (h *host) onDisk(how kernel.Failure) []string {
	h.Helper()
	if how != kernel.Cut {
		return []string{h.dir + "/state", h.dir + "/data", h.repo, h.dir + "/out"}
	}
	dirs := []string{h.repo, h.dir + "/out", h.dir + "/state/carrel/attestations", h.dir + "/state/carrel/applies"}
	entries, err := os.ReadDir(filepath.Join(h.dir, "state/carrel"))
	if err != nil {
		h.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); name != "log" && name != "attestations" && name != "applies" {
			dirs = append(dirs, h.dir+"/state/carrel/"+name)
		}
	}
	return dirs
}

// goOn does what a user does who was told r.
func (h *host) goOn(a attempt, r result, args []string) result {
	h.Helper()
	if a.redo != nil {
		return a.redo(h, r)
	}
	again := h.carrel(args...)
	if strings.Contains(again.err, "remove the file manually") { // as git asks where one of it was killed
		h.forget("repo/.git/refs/notes/carrel.lock")
		again = h.carrel(args...)
	}
	return again
}

// nothingIsLost checks that the log still has the records it had; the first
// ones may be past their retention.
func (h *host) nothingIsLost(before, what string) {
	h.Helper()
	_, before, _ = strings.Cut(before, "\n")
	_, before, _ = strings.Cut(before, "\n")
	if now := h.must("log", "show", "--all", "--json").out; !strings.Contains(now, before) {
		h.Errorf("after %s: records are gone:\n%s\nthere were\n%s", what, now, before)
	}
}

// attestedWholly checks that what is kept and noted is whole, and that all of
// it is there if the command said so.
func (h *host) attestedWholly(r result) {
	h.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "state/carrel/attestations/*/*.jsonl"))
	if err != nil {
		h.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			h.Fatal(err)
		}
		if set, err := verify.ParseNote(raw); err != nil || len(set) != len(verify.ChangeAttestations) {
			h.Errorf("%s has %d attestations: %v", file, len(set), err)
		}
	}
	noted := h.carrel("verify", "work")
	if noted.code != 0 && (r.code == 0 || !strings.Contains(noted.err, "is not attested")) {
		h.Errorf("after %s: %s", r, noted)
	}
}

// only is the one entry of a directory of the state, without its ending.
func (h *host) only(dir string) string {
	h.Helper()
	entries, err := os.ReadDir(filepath.Join(h.dir, "state/carrel", dir))
	if err != nil || len(entries) != 1 {
		h.Fatalf("%s has %d entries: %v", dir, len(entries), err)
	}
	return strings.TrimSuffix(entries[0].Name(), ".json")
}

func (h *host) forget(names ...string) {
	h.Helper()
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(h.dir, name)); err != nil {
			h.Fatal(err)
		}
	}
}

// save copies what the host keeps; restore brings it back.
func (h *host) save() string {
	h.Helper()
	to := h.T.TempDir()
	for _, dir := range []string{"state", "data", "repo"} {
		h.copyTree(filepath.Join(h.dir, dir), filepath.Join(to, dir))
	}
	return to
}

func (h *host) restore(saved string) {
	h.Helper()
	h.forget("state", "data", "repo", "out")
	for _, dir := range []string{"state", "data", "repo"} {
		h.copyTree(filepath.Join(saved, dir), filepath.Join(h.dir, dir))
	}
}

func (h *host) copyTree(from, to string) {
	h.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		h.Fatalf("%v: %s", err, out)
	}
}
