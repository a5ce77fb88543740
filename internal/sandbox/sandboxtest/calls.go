package sandboxtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
)

// call is one system call that the probe makes inside, and what it must get.
type call struct {
	name string
	want []string // any of these
	do   func() error
}

func raw(nr uintptr, args ...uintptr) func() error {
	return func() error {
		var a [6]uintptr
		copy(a[:], args)
		_, _, errno := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
		if errno != 0 {
			return errno
		}
		return nil
	}
}

// clone makes a child that ends at once, should it come to be.
func clone(flags uintptr) func() error {
	return func() error {
		r, _, errno := unix.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			return errno
		}
		if r == 0 {
			unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
		}
		_, err := unix.Wait4(int(r), nil, 0, nil)
		return err
	}
}

func socket(family, kind, proto int) func() error {
	return func() error {
		fd, err := unix.Socket(family, kind, proto)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
}

var clone3Args = [11]uint64{0: unix.CLONE_NEWUSER, 4: uint64(unix.SIGCHLD)}

// calls are attacks D59, D64 and D71, with what must go on working.
func calls() []call {
	eperm, enosys := []string{"EPERM"}, []string{"ENOSYS"}
	noproto := []string{"EPROTONOSUPPORT"}
	either := []string{"EPERM", "ENOSYS"}
	family := []string{"EAFNOSUPPORT"}
	ok := []string{"ok"}
	name := uintptr(unsafe.Pointer(unsafe.StringData("user\x00")))
	return []call{
		{"clone newuser", eperm, clone(unix.CLONE_NEWUSER)},
		{"clone newns", eperm, clone(unix.CLONE_NEWNS)},
		{"clone newnet", eperm, clone(unix.CLONE_NEWNET)},
		{"clone", ok, clone(0)},
		{"clone3", enosys, raw(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&clone3Args)), unsafe.Sizeof(clone3Args))},
		{"unshare user", eperm, raw(unix.SYS_UNSHARE, unix.CLONE_NEWUSER)},
		{"unshare time", eperm, raw(unix.SYS_UNSHARE, unix.CLONE_NEWTIME)},
		{"unshare fs", ok, raw(unix.SYS_UNSHARE, unix.CLONE_FS)},
		{"setns", eperm, raw(unix.SYS_SETNS, 0, 0)},
		{"mount", eperm, raw(unix.SYS_MOUNT, name, name, name, 0, 0)},
		{"umount2", eperm, raw(unix.SYS_UMOUNT2, name, 0)},
		{"pivot_root", eperm, raw(unix.SYS_PIVOT_ROOT, name, name)},
		{"chroot", eperm, raw(unix.SYS_CHROOT, name)},
		{"open_tree", eperm, raw(unix.SYS_OPEN_TREE, 0, name, 0)},
		{"fsopen", eperm, raw(unix.SYS_FSOPEN, name, 0)},
		{"fsmount", eperm, raw(unix.SYS_FSMOUNT, 0, 0, 0)},
		{"mount_setattr", eperm, raw(unix.SYS_MOUNT_SETATTR, 0, name, 0, 0, 0)},
		{"open_by_handle_at", eperm, raw(unix.SYS_OPEN_BY_HANDLE_AT, 0, name, 0)},
		{"io_uring_setup", enosys, raw(unix.SYS_IO_URING_SETUP, 1, name)},
		{"io_uring_enter", enosys, raw(unix.SYS_IO_URING_ENTER)},
		{"io_uring_register", enosys, raw(unix.SYS_IO_URING_REGISTER)},
		{"bpf", eperm, raw(unix.SYS_BPF)},
		{"perf_event_open", eperm, raw(unix.SYS_PERF_EVENT_OPEN)},
		{"userfaultfd", eperm, raw(unix.SYS_USERFAULTFD)},
		{"fanotify_init", eperm, raw(unix.SYS_FANOTIFY_INIT)},
		{"add_key", eperm, raw(unix.SYS_ADD_KEY, name, name)},
		{"request_key", eperm, raw(unix.SYS_REQUEST_KEY, name, name)},
		{"keyctl", eperm, raw(unix.SYS_KEYCTL)},
		{"kexec_load", eperm, raw(unix.SYS_KEXEC_LOAD)},
		{"init_module", eperm, raw(unix.SYS_INIT_MODULE)},
		{"finit_module", eperm, raw(unix.SYS_FINIT_MODULE)},
		{"syslog", eperm, raw(unix.SYS_SYSLOG, 10)},
		{"reboot", eperm, raw(unix.SYS_REBOOT)},
		{"sethostname", eperm, raw(unix.SYS_SETHOSTNAME, name, 4)},
		{"a call of the future", enosys, raw(4000)},
		{"socket alg", family, socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)},
		{"socket vsock", family, socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)},
		{"socket packet", family, socket(unix.AF_PACKET, unix.SOCK_RAW, 0)},
		{"socket raw", eperm, socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)},
		{"socket netfilter write", either, netfilterWrite},
		{"socket inet", ok, socket(unix.AF_INET, unix.SOCK_STREAM, 0)},
		{"socket inet6", ok, socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)},
		{"socket unix", ok, socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)},
		{"socket tcp", ok, socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_TCP)},
		{"socket netfilter", noproto, socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)},
		{"socket diag", noproto, socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_SOCK_DIAG)},
		{"socket generic", noproto, socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC)},
		{"socket xfrm", noproto, socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_XFRM)},
		{"socket uevent", noproto, socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT)},
		{"socketpair tipc", family, raw(unix.SYS_SOCKETPAIR, unix.AF_TIPC, unix.SOCK_STREAM, 0, name)},
		{"socket route", ok, socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)},
		{"tiocsti", eperm, raw(unix.SYS_IOCTL, 0, unix.TIOCSTI, name)},
		{"tiocsti, high bits set", eperm, raw(unix.SYS_IOCTL, 0, unix.TIOCSTI|1<<32, name)},
		{"tioclinux", eperm, raw(unix.SYS_IOCTL, 0, unix.TIOCLINUX, name)},
		{"personality", ok, raw(unix.SYS_PERSONALITY, 0x0040000)},
		{"memfd_create", ok, raw(unix.SYS_MEMFD_CREATE, name, 0)},
	}
}

// netfilterWrite tries to change the desk's packet rules, which are the
// supervisor's to set.
func netfilterWrite() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)
	if err != nil {
		return unix.EPERM // refused even earlier
	}
	defer unix.Close(fd)
	// A new table (NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWTABLE), asking for an answer.
	msg := []byte{20, 0, 0, 0, 0x00, 0x0a, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0}
	if err := unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 256)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil || n < 20 {
		return err
	}
	if e := *(*int32)(unsafe.Pointer(&buf[16])); e != 0 {
		return unix.Errno(-e)
	}
	return nil
}

func probeCalls() {
	runtime.LockOSThread()
	for _, c := range calls() {
		fmt.Printf("%s: %s\n", c.name, say(c.do()))
	}
}

func forbiddenCalls(b *bed) {
	out, errs, exit := b.run(b.spec(probePath, "probe", "calls"))
	if exit.Code != 0 {
		b.t.Fatalf("%+v %s", exit, errs)
	}
	got := map[string]string{}
	for _, line := range strings.Split(out, "\n") {
		name, answer, _ := strings.Cut(line, ": ")
		got[name] = answer
	}
	for _, c := range calls() {
		if !slices.Contains(c.want, got[c.name]) {
			b.t.Errorf("%s: %q, want %v", c.name, got[c.name], c.want)
		}
	}
}

// exit42 is a 32-bit program for x86 that ends with code 42.
var exit42 = []byte("\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x02\x00\x03\x00\x01\x00\x00\x00\x54\x80\x04\x08\x34\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x34\x00\x20\x00\x01\x00\x00\x00\x00\x00\x00\x00" +
	"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x80\x04\x08\x00\x80\x04\x08\x60\x00\x00\x00\x60\x00\x00\x00\x05\x00\x00\x00\x00\x10\x00\x00" +
	"\xb8\x01\x00\x00\x00\xbb\x2a\x00\x00\x00\xcd\x80")

// foreignABIs is attack D70: system calls under other numbers.
func foreignABIs(b *bed) {
	if runtime.GOARCH != "amd64" {
		b.t.Skip("this machine has no second set of system calls")
	}
	b.write("ws/exit42", string(exit42), 0o755)
	outside := exec.Command(filepath.Join(b.dir, "ws", "exit42")).Run()
	_, _, exit := b.run(b.spec("/bin/sh", "-c", "./exit42"))
	if exit.Code == 42 || exit.Code == 0 {
		b.t.Errorf("a 32-bit call worked: %+v", exit)
	}
	b.t.Logf("outside: %v, inside: %+v", outside, exit)
	// x32 numbers carry bit 30; the probe's calls above are the plain ones.
	if out, _, _ := b.run(b.spec(probePath, "probe", "ids")); out == "" {
		b.t.Error("plain calls do not work")
	}
}

// reachingPID1 is attack D61. Without Landlock's scopes PID 1 hears signals
// and does nothing about them.
func reachingPID1(b *bed) {
	heard := ""
	if b.landlock().Level != carrel.Enforced {
		heard = "ok"
	}
	out, errs, exit := b.run(b.spec(probePath, "probe", "reach"))
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		name, answer, _ := strings.Cut(line, " ")
		if (strings.HasPrefix(name, "SIG") || name == "pidfd_send_signal") && answer == heard {
			continue
		}
		if name != "pidfd_open" && answer != "EPERM" && answer != "EACCES" && !strings.Contains(answer, "ermission") {
			b.t.Errorf("%s: %s", name, answer)
		}
	}
	if exit.Code != 0 {
		b.t.Errorf("exit %+v: %s %s", exit, out, errs)
	}
}

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

// memfdExec is attack D65: allowed, and under all the walls.
func memfdExec(b *bed) {
	out, _, _ := b.run(b.spec(probePath, "probe", "memfd"))
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000000"} {
		if !strings.Contains(out, want) {
			b.t.Errorf("no %q in %s", want, out)
		}
	}
}

// capabilities is attack D77.
func capabilities(b *bed) {
	out := b.sh(`grep -h ^Cap /proc/self/status /proc/1/status; grep -E "NoNewPrivs|Seccomp:" /proc/self/status`)
	own := strings.Split(out, "\n")[:5]
	for _, line := range own {
		if !strings.HasSuffix(line, "\t0000000000000000") {
			b.t.Error(line)
		}
	}
	if !strings.Contains(out, "NoNewPrivs:\t1\nSeccomp:\t2") {
		b.t.Error(out)
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
	need(b.t, "bwrap")
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
	need(b.t, "gdb")
	out := b.sh(`gdb -q -nx -batch -ex "break *main" -ex run -ex "info registers rip pc" -ex continue --args /probe probe ids 2>&1; exit 0`)
	if !strings.Contains(out, "exited normally") {
		b.t.Errorf("gdb: %s", out)
	}
	out = b.sh(`sleep 30 & p=$!; sleep 0.1; gdb -q -nx -batch -p $p -ex "info inferiors" 2>&1; kill $p; exit 0`)
	if !strings.Contains(out, "process ") || strings.Contains(out, "not permitted") {
		b.t.Errorf("gdb attached: %s", out)
	}
}
