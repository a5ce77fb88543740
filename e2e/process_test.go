//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/internal/needs"
)

func TestForeignSystemCallsAreRefused(t *testing.T) {
	asEachUser(t, func(h *host) {
		for _, abi := range []string{"int80", "x32"} {
			if r := h.probe("foreign", abi); r.code == 0 || strings.Contains(r.out, "worked") {
				h.Errorf("%s: %s", abi, r)
			}
		}
	})
}

func TestNoCapabilityAndNoNewPrivileges(t *testing.T) {
	asEachUser(t, func(h *host) {
		r := h.inside("cat /proc/self/status; id; " + probeBin + " memfd")
		h.expect(r, 0, "NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "worked")
		if strings.Contains(r.out, "uid=0") || strings.Count(r.out, "Seccomp:\t2") < 2 {
			h.Errorf("walls are thinner than they should be\n%s", r)
		}
	})
}

func TestSupervisorCannotBeSignalledOrTraced(t *testing.T) {
	asEachUser(t, func(h *host) {
		sleeper := h.command(h.Context(), "sleep", "60")
		if err := sleeper.Start(); err != nil {
			h.Fatal(err)
		}
		defer func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() }()
		pid := fmt.Sprint(sleeper.Process.Pid)
		supervisor := `S=$$; export S; exec "$0" run --env S --ro ` + probeBin + ` -- bash -c '` +
			`kill -0 $S && echo OPEN supervisor; kill -0 ` + pid + ` && echo OPEN sleeper; ` + probeBin + ` ptrace $S && echo OPEN ptrace; ` +
			probeBin + ` ptrace 1 && echo OPEN ptrace init; cat /proc/1/environ /proc/1/maps && echo OPEN init; kill -9 1; kill -STOP 1; ls /proc | grep -c "^[0-9]"; ` +
			probeBin + ` ptrace child && kill -0 $$ && echo alive'`
		r := h.start("", "bash", "-c", supervisor, carrelBin)
		h.expect(r, 0, "worked", "alive")
		if strings.Contains(r.out, "OPEN") {
			h.Errorf("something outside was reached\n%s", r)
		}
		r = h.inside("trap '' TERM; kill -TERM -1; kill -9 -1; echo alive")
		h.expect(r, 0, "alive")
		if err := sleeper.Process.Signal(syscall.Signal(0)); err != nil {
			h.Errorf("the process outside is gone: %v", err)
		}
	})
}

func TestHostAbstractSocketIsNotReached(t *testing.T) {
	asEachUser(t, func(h *host) {
		name := fmt.Sprintf("carrel-%s-%d", canary, h.uid)
		l, err := net.Listen("unix", "@"+name)
		if err != nil {
			h.Fatal(err)
		}
		defer l.Close()
		h.expect(h.start("", probeBin, "abstract", name), 0)
		h.expect(h.probe("abstract", name), 1)
	})
}

func TestEverythingEndsWithTheRun(t *testing.T) {
	asEachUser(t, func(h *host) {
		mark := fmt.Sprintf("9999.%d%d", os.Getpid(), h.uid)
		r := h.inside("setsid sleep " + mark + " & (nohup sleep " + mark + " >/dev/null 2>&1 &); bash -c 'trap \"\" TERM HUP; exec -a x sleep " + mark + "' & echo started; pgrep -c sleep; exit 3")
		h.expect(r, 3, "started")
		if out, _ := exec.Command("pgrep", "-f", mark).Output(); len(out) > 0 {
			h.Errorf("left running: %s", out)
		}
	})
}

func TestTermIsPassedOnAndThenEndsEverything(t *testing.T) {
	asEachUser(t, func(h *host) {
		cmd := h.command(h.Context(), carrelBin, "run", "--", "bash", "-c", "trap 'echo got TERM; exit 7' TERM; echo ready; sleep 60 & wait")
		r := h.signalled(cmd, "ready", func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
		h.expect(r, 7, "got TERM")
	})
}

func TestKilledSupervisorLeavesNothing(t *testing.T) {
	asEachUser(t, func(h *host) {
		mark := fmt.Sprintf("8888.%d%d", os.Getpid(), h.uid)
		cmd := h.command(h.Context(), carrelBin, "run", "--", "bash", "-c", "echo work > kept; echo ready; sleep "+mark)
		h.signalled(cmd, "ready", func() { _ = cmd.Process.Kill() })
		deadline := time.Now().Add(longest / 2)
		for time.Now().Before(deadline) {
			if out, _ := exec.Command("pgrep", "-f", mark).Output(); len(out) == 0 {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if out, _ := exec.Command("pgrep", "-f", mark).Output(); len(out) > 0 {
			h.Errorf("left running: %s", out)
		}
		if mounts, _ := os.ReadFile("/proc/self/mounts"); strings.Contains(string(mounts), h.dir) {
			h.Error("a mount is left on the host")
		}
		h.expect(h.inside("cat kept"), 0, "work") // and the work goes on
		h.must("log", "verify")
	})
}

func TestPrivilegedHelpersAreInert(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("for c in 'sudo -n true' 'su -c true' 'pkexec true' 'newuidmap $$ 0 0 1' 'mount -t tmpfs x /tmp' 'unshare -Ur true' 'bwrap --bind / / true'; do timeout 5 $c </dev/null && echo OPEN $c; done; test $(id -u) != 0 && echo end"), 0, "end")
		if r := h.inside("unshare -Ur id -u"); strings.HasPrefix(r.out, "0") {
			h.Errorf("a user namespace was made\n%s", r)
		}
	})
}

func TestCarrelInsideReachesNothingMore(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.write("home/secret", canary)
		r := h.inside(carrelBin+" run --ro "+h.home+" -- cat "+h.home+"/secret; "+carrelBin+" approve --reason self; "+carrelBin+" log show; true", "--ro", carrelBin)
		h.expect(r, 0)
		h.unseen(r)
	})
}

func TestExitCodesPassThrough(t *testing.T) {
	asEachUser(t, func(h *host) {
		h.expect(h.inside("exit 42"), 42)
		h.expect(h.carrel("run", "--", "no-such-agent"), 127, "no-such-agent")
		h.expect(h.carrel("run", "--", h.write("repo/plain", "x")), 126)
		h.expect(h.inside("kill -TERM $$"), 143)
		h.expect(h.start("hello", carrelBin, "run", "--", "cat"), 0, "hello")
		h.expect(h.carrel("run", "--no-such-flag", "--", "true"), 125, "--no-such-flag")
	})
}

func TestDebuggersWorkInside(t *testing.T) {
	needs.Tool(t, "gdb")
	asEachUser(t, func(h *host) {
		h.expect(h.inside("gdb -q -batch -ex run --args /bin/true"), 0, "exited normally")
	})
}
