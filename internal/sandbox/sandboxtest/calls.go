package sandboxtest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/carrel-dev/carrel/internal/needs"
)

// signalsOut is attack D62.
func signalsOut(b *bed) {
	bystander := exec.Command("/bin/sleep", "60")
	if err := bystander.Start(); err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = bystander.Process.Kill(); _ = bystander.Wait() }()
	out := b.sh(fmt.Sprintf(`kill -0 %d 2>/dev/null && echo visible; kill -9 %d 2>/dev/null; kill -0 %d 2>/dev/null && echo supervisor; sleep 50 & kill $! && echo own; kill -STOP 1 2>/dev/null; kill -9 1 2>/dev/null; echo on`,
		bystander.Process.Pid, bystander.Process.Pid, os.Getpid()))
	if out != "own\non\n" {
		b.t.Errorf("got %q", out)
	}
	_, _, exit := b.run(b.spec("/bin/sh", "-c", "(kill -9 -1); sleep 0.1; exit 9"))
	b.t.Logf("kill -9 -1: %+v", exit)
	if err := bystander.Process.Signal(syscall.Signal(0)); err != nil {
		b.t.Errorf("a process of the host is gone: %v", err)
	}
}

// privilegeHelpers is attack D80.
func privilegeHelpers(b *bed) {
	out := b.sh(`for c in "su -c true" "sudo -n true" "pkexec true" "newuidmap 1 0 0 1" "mount -t tmpfs x /tmp" "passwd -l root" "unshare -Ur true" "unshare -m true" "setpriv --reuid 0 true"; do
		set -- $c; command -v $1 >/dev/null || continue; timeout 5 $c </dev/null >/dev/null 2>&1 && echo "worked: $c"; done; setpriv --no-new-privs true && echo twin`)
	if out != "twin\n" {
		b.t.Errorf("got %q", out)
	}
}

// nestedSandboxes is attack D82.
func nestedSandboxes(b *bed) {
	needs.Tool(b.t, "bwrap")
	out := b.sh(`bwrap --bind / / sh -c 'echo nested' 2>/dev/null; bwrap --unshare-all --ro-bind / / true 2>/dev/null && echo nested; echo on`)
	if out != "on\n" {
		b.t.Errorf("got %q", out)
	}
}

// insideItself is attack D82 too: no desk can be built at a desk, and the
// refusal says why and what to do.
func insideItself(b *bed) {
	out, errs, _ := b.run(b.spec(probePath, "probe", "tier"))
	if !strings.HasPrefix(out, "not ") || !strings.Contains(out, "user namespaces") || !strings.Contains(out, "fix: ") {
		b.t.Errorf("got %q %s", out, errs)
	}
}

func debuggers(b *bed) {
	needs.Tool(b.t, "gdb")
	out := b.sh(`gdb -q -nx -batch -ex "break *main" -ex run -ex "info registers rip pc" -ex continue --args /probe probe ids 2>&1; exit 0`)
	if !strings.Contains(out, "exited normally") {
		b.t.Errorf("gdb: %s", out)
	}
	out = b.sh(`sleep 30 & p=$!; sleep 0.1; gdb -q -nx -batch -p $p -ex "info inferiors" 2>&1; kill $p; exit 0`)
	if !strings.Contains(out, "process ") || strings.Contains(out, "not permitted") {
		b.t.Errorf("gdb attached: %s", out)
	}
}
