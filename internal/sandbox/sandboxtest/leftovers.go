package sandboxtest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/sandbox"
)

func enforcement(b *bed) {
	s := b.spec("/bin/true")
	s.Limits.Memory = 1 << 30
	d := b.mustStart(s)
	if _, err := d.Wait(); err != nil {
		b.t.Fatal(err)
	}
	b.controls(d.Enforcement(), carrel.NotEnforced) // nobody asked to follow commands
}

func probeIsTrue(b *bed) {
	b.controls(b.tier.Probe(b.t.Context()), carrel.Partly) // it tries to
}

// controls checks that every control has one answer, and how far commands are
// decided.
func (b *bed) controls(list []carrel.Enforcement, exec carrel.Level) {
	b.t.Helper()
	seen := map[carrel.Control]carrel.Enforcement{}
	for _, e := range list {
		if _, twice := seen[e.Control]; twice || e.How == "" {
			b.t.Errorf("%+v", e)
		}
		seen[e.Control] = e
	}
	for _, c := range []carrel.Control{carrel.ControlFiles, carrel.ControlStaging, carrel.ControlProcesses, carrel.ControlPrivilege, carrel.ControlSyscalls,
		carrel.ControlNetwork, carrel.ControlStreams, carrel.ControlLifetime, carrel.ControlPids} {
		if seen[c].Level != carrel.Enforced {
			b.t.Errorf("%s: %+v, want enforced", c, seen[c])
		}
	}
	if seen[carrel.ControlMemory].Level == carrel.NotEnforced || seen[carrel.ControlExec].Level != exec {
		b.t.Errorf("memory %+v, exec %+v", seen[carrel.ControlMemory], seen[carrel.ControlExec])
	}
}

// landlock is what a desk has of it.
func (b *bed) landlock() carrel.Enforcement {
	b.t.Helper()
	d := b.mustStart(b.spec("/bin/true"))
	if _, err := d.Wait(); err != nil {
		b.t.Fatal(err)
	}
	for _, e := range d.Enforcement() {
		if e.Control == carrel.ControlLandlock {
			return e
		}
	}
	return carrel.Enforcement{}
}

// probeTier prints what a tier says of the place where it is.
func probeTier(tier sandbox.Tier) int {
	for _, e := range tier.Probe(context.Background()) {
		fmt.Printf("%s %s: %s fix: %s\n", e.Level, e.Control, e.How, e.Fix)
	}
	return 0
}

// Probe runs Main's probe of the tier under a command that changes the
// machine, such as unshare, and returns what the tier said.
func Probe(t *testing.T, command ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(command[1:], self, "probe", "tier")
	out, err := exec.Command(command[0], args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// supervise is a supervisor that waits to be killed.
func supervise(tier sandbox.Tier, dir string) int {
	t := &testing.T{}
	b := &bed{t, tier, dir}
	s := b.spec("/bin/sh", "-c", "echo done > work; setsid sleep "+os.Args[3]+" & echo up; sleep "+os.Args[3])
	s.Stdout = os.Stdout
	s.Limits.Memory = 1 << 30
	d, err := b.start(s)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	_, _ = d.Wait()
	return 0
}

// supervisorKilled is attack K187: a supervisor that dies leaves nothing.
func supervisorKilled(b *bed) {
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	mark := fmt.Sprintf("%d.%d", 200000+os.Getpid(), time.Now().UnixNano()%1e6)
	cmd := exec.Command(self, "supervise", b.dir, mark)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		_ = cmd.Process.Kill()
		b.t.Fatalf("the supervisor says %q", line)
	}
	if n := len(processesWith(mark)); n < 3 {
		b.t.Errorf("%d processes while the run lasts", n)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	b.waitFor(func() bool { return len(processesWith(mark)) == 0 })
	// The desk can be used again, with what was done at it, and its next start
	// removes what was left.
	next := b.spec("/bin/cat", "work")
	next.Limits.Memory = 1 << 30
	if out, _, _ := b.run(next); out != "done\n" {
		b.t.Errorf("the next run finds %q", out)
	}
	for _, depth := range []string{"*", "*/*", "*/*/*", "*/*/*/*"} {
		if left, _ := filepath.Glob(fmt.Sprintf("/sys/fs/cgroup/%s/carrel-%d-*", depth, cmd.Process.Pid)); len(left) > 0 {
			b.t.Errorf("left over: %v", left)
		}
	}
}

// manyRuns: what a run takes of the host it gives back.
func manyRuns(b *bed) {
	const runs = 150
	s := b.spec("/bin/true")
	once := func() {
		d, err := b.start(s)
		if err == nil {
			_, err = d.Wait()
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	once()
	before := b.settled()
	began := time.Now()
	for range runs {
		once()
	}
	b.t.Logf("%v per run as %s", time.Since(began)/runs, who())
	var after string
	for range 50 { // goroutines need a moment to end
		if after = b.taken(); after == before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.t.Errorf("before: %s\nafter: %s", before, after)
}

// settled is taken once it stays the same: what ended before this takes nothing
// any more.
func (b *bed) settled() string {
	for last := b.taken(); ; {
		time.Sleep(100 * time.Millisecond)
		now := b.taken()
		if now == last {
			return now
		}
		last = now
	}
}

// taken says what this process holds of the machine, where other tests may
// hold more at the same time.
func (b *bed) taken() string {
	fds, _ := os.ReadDir("/proc/self/fd")
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	var groups []string
	for _, depth := range []string{"*", "*/*", "*/*/*", "*/*/*/*"} {
		found, _ := filepath.Glob(fmt.Sprintf("/sys/fs/cgroup/%s/carrel-%d-*", depth, os.Getpid()))
		groups = append(groups, found...)
	}
	return fmt.Sprintf("%d descriptors, %d goroutines, %d mounts, cgroups %v", len(fds), runtime.NumGoroutine(), strings.Count(string(mounts), b.dir), groups)
}

func list(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
