//go:build linux

package selftest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/needs"
	"github.com/carrel-dev/carrel/internal/sandbox/attack"
	"github.com/carrel-dev/carrel/internal/sandbox/sandboxtest/kernel"
)

const via = "attack"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case via:
			os.Exit(attack.Main(os.Args[0], []string{via}, os.Args[2:]))
		case kernel.ContainerVerb:
			os.Exit(kernel.Container(os.Args[2:]))
		}
	}
	os.Exit(m.Run())
}

// apartVar says, in the environment of this test started again, that it is in
// a network of its own.
const apartVar = "CARREL_TEST_NETWORK"

// inOwnNetwork runs a test again in a network namespace with only a loopback:
// without walls, nothing may go anywhere. It reports whether this is it.
func inOwnNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(apartVar) != "" {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		lo, err := unix.NewIfreq("lo")
		if err != nil {
			t.Fatal(err)
		}
		lo.SetUint16(unix.IFF_UP)
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
			t.Fatal(err)
		}
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), apartVar+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if t.Logf("%s", out); err != nil {
		t.Error(err)
	}
	return false
}

// Where there are no walls, in a plain container, the attacks get in: what a
// desk stops is not stopped by chance.
func TestWithoutWallsTheAttacksGetIn(t *testing.T) {
	needs.Root(t)
	if !inOwnNetwork(t) {
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	report, err := Run(t.Context(), Options{
		Self: self, Via: []string{via},
		Desk: func(ctx context.Context, s *Stage, command []string, stdout *os.File) error {
			if out, err := exec.Command("chown", "-R", fmt.Sprintf("%d:%[1]d", kernel.FirstUser+1000), s.dir).CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			args := append([]string{kernel.ContainerVerb, "1000", "--", "/bin/sh", "-c", `"$@"; exit`, "sh"}, command...)
			cmd := exec.CommandContext(ctx, self, args...)
			cmd.Stdout, cmd.Stderr = stdout, os.Stderr
			return cmd.Run()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, in := map[string]Row{}, 0
	for _, row := range report.Rows {
		got[row.Name] = row
		if row.How == "got in" {
			in++
		}
	}
	for _, name := range strings.Fields(`home:.ssh/id_ed25519 home:list outside outside:link write:beside read-only:open read-only:rename kernel-read:interrupts
		sysfs no-new-privs seccomp call:clone:user call:unshare:user memfd socket:xfrm host:loopback host:abstract host:socket`) {
		if row, ok := got[name]; !ok || row.Held {
			t.Errorf("%s: held without a wall: %+v", name, row)
		}
	}
	if in < 40 || report.Failed < in || got["outside:servers"].Held {
		t.Errorf("%d got in: %+v", in, got["outside:servers"])
	}
	t.Logf("%d of %d get in without walls", in, len(report.Rows))
}
