package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
	"github.com/carrel-dev/carrel/internal/sandbox"
)

func contract(b *bed) {
	s := b.spec("/bin/sh", "-c", "echo ran > /home/agent/ran")
	a := carrel.Action{Operation: carrel.OpExec, Run: s.Run, Argv: []carrel.Text{"/bin/sh"}}
	gatetest.Contract(b.t.(*testing.T), gatetest.Effect{
		Name: "Start", Action: a,
		Call: func(ctx context.Context, g gate.Grant) error {
			d, err := b.tier.Start(ctx, g, a, s)
			if err != nil {
				return err
			}
			_, err = d.Wait()
			return err
		},
		Happened: func() bool {
			_, err := os.Stat(filepath.Join(b.dir, "home", "ran"))
			return err == nil
		},
	})
}

func exitCodes(b *bed) {
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "exit 255": 255, "kill -9 $$": 137, "kill -15 $$": 143, "kill -SEGV $$": 139} {
		_, _, exit := b.run(b.spec("/bin/sh", "-c", script))
		if exit.Code != want || exit.Cause != "" {
			b.t.Errorf("%s: %+v, want code %d", script, exit, want)
		}
	}
}

func notFound(b *bed) {
	s := b.spec("/usr/bin/no-such-program")
	b.mustNotStart(s, 127)
	s = b.spec("/workspace/script")
	b.write("ws/script", "#!/no/such/interpreter\n", 0o755)
	b.mustNotStart(s, 126)
}

func notExecutable(b *bed) {
	b.write("ws/data", "data", 0o644)
	b.mustNotStart(b.spec("/workspace/data"), 126)
	b.write("ws/run", "#!/bin/sh\nexit 3\n", 0o755)
	if _, _, exit := b.run(b.spec("/workspace/run")); exit.Code != 3 {
		b.t.Errorf("an executable script ended with %+v", exit)
	}
}

func signals(b *bed) {
	s := b.spec("/bin/sh", "-c", `trap "echo term; exit 5" TERM; trap "echo usr1" USR1; echo ready; while :; do sleep 0.05; done`)
	s.Stdout = b.file("out")
	d := b.mustStart(s)
	b.waitFor(func() bool { return strings.Contains(b.text(s.Stdout), "ready") })
	for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGTERM} {
		if err := d.Signal(sig); err != nil {
			b.t.Error(err)
		}
		b.waitFor(func() bool {
			return strings.Contains(b.text(s.Stdout), map[syscall.Signal]string{syscall.SIGUSR1: "usr1", syscall.SIGTERM: "term"}[sig])
		})
	}
	if exit, err := d.Wait(); err != nil || exit.Code != 5 {
		b.t.Errorf("exit %+v, %v; want 5", exit, err)
	}
}

func grace(b *bed) {
	s := b.spec("/bin/sh", "-c", `trap "" TERM; echo ready; while :; do sleep 0.05; done`)
	s.Stdout = b.file("out")
	s.Grace = 200 * time.Millisecond
	d := b.mustStart(s)
	b.waitFor(func() bool { return strings.Contains(b.text(s.Stdout), "ready") })
	began := time.Now()
	if err := d.Signal(syscall.SIGTERM); err != nil {
		b.t.Fatal(err)
	}
	exit, err := d.Wait()
	if took := time.Since(began); err != nil || exit.Code != 137 || took < s.Grace || took > 5*time.Second {
		b.t.Errorf("exit %+v, %v after %v", exit, err, took)
	}
}

func endStopped(b *bed) {
	s := b.spec("/bin/sh", "-c", "echo ready; kill -STOP $$; echo on")
	s.Stdout = b.file("out")
	d := b.mustStart(s)
	b.waitFor(func() bool { return strings.Contains(b.text(s.Stdout), "ready") })
	time.Sleep(50 * time.Millisecond)
	if err := d.Signal(syscall.SIGTERM); err != nil {
		b.t.Fatal(err)
	}
	if exit, err := d.Wait(); err != nil || exit.Code != 143 {
		b.t.Errorf("exit %+v, %v", exit, err)
	}
}

// background is attack D79: outliving the run.
func background(b *bed) {
	mark := fmt.Sprintf("%d.%d", 100000+os.Getpid(), time.Now().UnixNano()%1e6)
	out := b.sh(`setsid sleep ` + mark + ` & (nohup sleep ` + mark + ` >/dev/null 2>&1 &) & sleep 0.2; ps -e -o args | grep -c "^sleep ` + mark + `"`)
	if strings.TrimSpace(out) != "2" {
		b.t.Errorf("background processes while the run lasts: %q, want 2", out)
	}
	if left := processesWith(mark); len(left) > 0 {
		b.t.Errorf("still there after the run: %v", left)
	}
}

// usualTimers: PID 1's are late on purpose, the program's must not be.
func usualTimers(b *bed) {
	host, err := exec.Command("cat", "/proc/self/timerslack_ns").Output()
	if err != nil {
		b.t.Fatal(err)
	}
	if inside := b.sh("cat /proc/self/timerslack_ns"); inside != string(host) {
		b.t.Errorf("slack inside: %soutside: %s", inside, host)
	}
}

func standardInput(b *bed) {
	s := b.spec("/bin/sh", "-c", "wc -c; echo done")
	in, w, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	defer in.Close()
	go func() {
		defer w.Close()
		_, _ = w.WriteString(strings.Repeat("x", 200_000))
	}()
	s.Stdin = in
	if out, _, _ := b.run(s); out != "200000\ndone\n" {
		b.t.Errorf("got %q", out)
	}
}

// inputEnds: a program that reads nothing ends although stdin stays open.
func inputEnds(b *bed) {
	in, w, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	defer in.Close()
	defer w.Close()
	s := b.spec("/bin/true")
	s.Stdin = in
	if _, _, exit := b.run(s); exit.Code != 0 {
		b.t.Errorf("exit %+v", exit)
	}
}

func closedOutput(b *bed) {
	r, w, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	r.Close()
	s := b.spec("/bin/sh", "-c", "while echo line; do :; done")
	s.Stdout = w
	d := b.mustStart(s)
	w.Close()
	if exit, err := d.Wait(); err != nil || exit.Signal != syscall.SIGPIPE && exit.Code == 0 {
		b.t.Errorf("exit %+v, %v; want it to end of a broken pipe", exit, err)
	}
}

func directoryStream(b *bed) {
	dir, err := os.Open(b.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	defer dir.Close()
	s := b.spec("/bin/true")
	s.Stdin = dir
	b.mustNotStart(s, 125)
}

func (b *bed) mustStart(s sandbox.Spec) sandbox.Desk {
	b.t.Helper()
	d, err := b.start(s)
	if err != nil {
		b.t.Fatalf("starting %q: %v", s.Args, err)
	}
	b.t.Cleanup(func() { _ = d.Kill() })
	return d
}

func (b *bed) mustNotStart(s sandbox.Spec, code int) error {
	b.t.Helper()
	d, err := b.start(s)
	if err == nil {
		_ = d.Kill()
		_, _ = d.Wait()
		b.t.Fatalf("%q started", s.Args)
	}
	var se *sandbox.StartError
	if !errors.As(err, &se) || se.Code != code {
		b.t.Errorf("starting %q: %v, want a start error with code %d", s.Args, err, code)
	}
	return err
}

func (b *bed) write(name, content string, mode os.FileMode) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), mode), os.Chmod(path, mode)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) waitFor(ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatal("waited for ten seconds")
		}
	}
}

// processesWith returns the host's processes that have s among their arguments.
func processesWith(s string) (out []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range dirs {
		if c, err := os.ReadFile(f); err == nil && strings.Contains(string(c), s) {
			out = append(out, strings.ReplaceAll(string(c), "\x00", " "))
		}
	}
	return out
}
