//go:build linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/internal/needs"
	"github.com/carrel-dev/carrel/internal/sandbox/sandboxtest/kernel"
)

// The attacks again, on machines that lack what Carrel would like to have:
// each lack is real to the binary under test, which has no switch for it.

// elsewhereVar names, in the environment of this test binary started again,
// the machine to be on.
const elsewhereVar = "CARREL_TEST_ELSEWHERE"

// machine is what carrel is started under.
type machine struct {
	lacks     string // of package kernel
	container bool
}

var elsewhere = map[string]machine{
	"without anything optional":  {lacks: "landlock,netfilter,overlay,idmap"},
	"a container without rights": {container: true},
}

// attacksAnywhere hold whatever the machine lacks, each with its twin.
var attacksAnywhere = []string{
	"TestSelfTestHolds", "TestHostServiceIsTheOneThatWasGiven", "TestNothingLeavesByAddress", "TestNamesDoNotLeaveTheMachine", "TestForeignSystemCallsAreRefused",
	"TestHiddenFileIsEmptyInside", "TestPrivilegedHelpersAreInert", "TestNestedRepositoryHooksAreWithheld", "TestGitWorksInside",
}

func TestAttacksOnOtherMachines(t *testing.T) {
	if os.Getenv(elsewhereVar) != "" {
		return // this is the other machine
	}
	needs.Root(t)
	for name := range elsewhere {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^("+strings.Join(attacksAnywhere, "|")+")$", "-test.v")
			cmd.Env = append(os.Environ(), elsewhereVar+"="+name, "CARREL_BIN="+carrelBin)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			for _, attack := range attacksAnywhere {
				if !strings.Contains(string(out), "--- PASS: "+attack+" ") {
					t.Errorf("%s did not pass", attack)
				}
			}
		})
	}
}

// asEachUserElsewhere is asEachUser on another machine.
func asEachUserElsewhere(t *testing.T, m machine, test func(h *host)) {
	t.Helper()
	at := func(uid, gid int, under ...string) func(*testing.T) {
		return func(t *testing.T) {
			h := newHost(t, uid, gid)
			h.under = append([]string{probeBin}, under...)
			test(h)
		}
	}
	if m.container {
		t.Run("root", at(kernel.FirstUser, kernel.FirstUser, kernel.ContainerVerb, "0", "--"))
		t.Run("user", at(kernel.FirstUser+1000, kernel.FirstUser+1000, kernel.ContainerVerb, "1000", "--"))
		return
	}
	t.Run("root", at(0, 0, kernel.Verb, m.lacks, "--"))
	t.Run("user", at(number(ordinary.Uid), number(ordinary.Gid), kernel.Verb, m.lacks, "--"))
}

// startElsewhere runs carrel under what makes the other machine.
func (h *host) startElsewhere(args ...string) result {
	h.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	argv := append(append(append([]string{}, h.under[1:]...), carrelBin), args...)
	cmd := h.command(ctx, h.under[0], argv...)
	if h.under[1] == kernel.ContainerVerb {
		cmd.SysProcAttr.Credential = nil // it is root who makes a container
	}
	return h.finish(cmd)
}

// refusals are machines where no walls can be built, with the cause and the
// next step that must be named.
var refusals = []struct{ where, cause, next string }{
	{"userns", "refuses user namespaces", "seccomp=unconfined"},
	{"seccomp", "restricting system calls", "Linux 5.15 or later"},
	{"new-mount", "function not implemented", "Linux 5.15 or later"},
	{"no-userns", "user namespaces are switched off", "sysctl -w user.max_user_namespaces="},
	{"masked-proc", "/proc is covered", "systempaths=unconfined"},
}

// Where no walls can be built, nothing runs: exit code 125, the cause, and
// what to do, from run as from doctor.
func TestNoWallsNoRun(t *testing.T) {
	asEachUser(t, func(root *host) {
		for _, r := range refusals {
			h := root
			h.under = []string{probeBin, kernel.Verb, r.where, "--"}
			if _, ok := kernel.Lacks[r.where]; !ok {
				if os.Getuid() != 0 {
					continue // only root can make a container
				}
				inside := min(h.uid, 1000)
				h = newHost(h.T, kernel.FirstUser+inside, kernel.FirstUser+inside)
				h.under = []string{probeBin, kernel.ContainerVerb, fmt.Sprintf("%d,%s", inside, r.where), "--"}
			}
			h.expect(h.carrel("run", "--", "touch", "ran"), 125, r.cause, "next: ", r.next)
			d := h.carrel("doctor")
			h.expect(d, 1, "no desk can be built", r.cause, "fix: ", r.next)
			if strings.Count(d.out, r.cause) != 1 {
				h.Errorf("the cause is said more than once\n%s", d)
			}
			h.expect(h.carrel("selftest"), 125, r.cause, "next: ", r.next)
			if h.exists("repo/ran") {
				h.Fatal("the command ran without walls")
			}
		}
		if root.uid != 0 { // as the only user of a namespace of one's own
			root.under = []string{"unshare", "--user", "--map-root-user"}
			root.expect(root.carrel("run", "--", "touch", "ran"), 125, "no unused user number", "next: run Carrel as an ordinary user")
		}
	})
}

// Following commands is no wall, and where another program listens for system
// calls already it cannot be had: then it is said, and a run that was told to
// do it does not start.
func TestCommandsThatCannotBeFollowed(t *testing.T) {
	h := asUser(t)
	h.under = []string{probeBin, kernel.Verb, "netfilter", "--"}
	h.expect(h.carrel("run", "--result", "result.json", "--", "echo", "ran"), 0, "ran")
	if r := h.read("repo/result.json"); !strings.Contains(r, "neither recorded nor decided: another program outside listens") {
		h.Errorf("the result does not say it: %s", r)
	}
	for _, mode := range []string{"record", "decide"} {
		h.expect(h.carrel("run", "--commands", mode, "--", "echo", "ran"), 125, "following what is executed", "next: ")
	}
	h.under = nil
	h.expect(h.carrel("run", "--commands", "record", "--", "echo", "ran"), 0, "ran")
}

// lacks reports whether the machine under carrel lacks a feature.
func (h *host) lacks(feature string) bool {
	return len(h.under) > 2 && h.under[1] == kernel.Verb && strings.Contains(h.under[2], feature)
}
