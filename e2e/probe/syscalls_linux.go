package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is one system call with arguments that would do harm, or at least be
// accepted, where nothing stops it.
type call struct {
	number uintptr
	args   func() [6]uintptr
}

func plain(args ...uintptr) func() [6]uintptr {
	return func() (out [6]uintptr) { copy(out[:], args); return }
}

// kept holds what calls point at, so that it stays where it is.
var kept [][]byte

func pointer(s string) uintptr { return room([]byte(s + "\x00")) }

func room(b []byte) uintptr {
	kept = append(kept, b)
	return uintptr(unsafe.Pointer(&b[0]))
}

// calls are tried one by one. ENOSYS and EPERM are refusals; any other error
// means that the kernel looked at the arguments, and so that it was let in.
var calls = map[string]call{
	"io_uring_setup":    {unix.SYS_IO_URING_SETUP, func() [6]uintptr { return [6]uintptr{4, room(make([]byte, 256))} }},
	"bpf":               {unix.SYS_BPF, plain(0, 0, 0)},
	"perf_event_open":   {unix.SYS_PERF_EVENT_OPEN, plain(0, 0, 0, 0, 0)},
	"userfaultfd":       {unix.SYS_USERFAULTFD, plain(0)},
	"keyctl":            {unix.SYS_KEYCTL, plain(0, ^uintptr(2), 0)},
	"add_key":           {unix.SYS_ADD_KEY, func() [6]uintptr { return [6]uintptr{pointer("user"), pointer("x"), pointer("y"), 1, ^uintptr(2)} }},
	"request_key":       {unix.SYS_REQUEST_KEY, func() [6]uintptr { return [6]uintptr{pointer("user"), pointer("x"), 0, 0} }},
	"kexec_load":        {unix.SYS_KEXEC_LOAD, plain(0, 0, 0, 0)},
	"init_module":       {unix.SYS_INIT_MODULE, plain(0, 0, 0)},
	"mount":             {unix.SYS_MOUNT, func() [6]uintptr { return [6]uintptr{pointer("none"), pointer("/tmp"), pointer("tmpfs"), 0, 0} }},
	"umount2":           {unix.SYS_UMOUNT2, func() [6]uintptr { return [6]uintptr{pointer("/tmp"), 0} }},
	"fsopen":            {unix.SYS_FSOPEN, func() [6]uintptr { return [6]uintptr{pointer("tmpfs"), 0} }},
	"open_tree":         {unix.SYS_OPEN_TREE, func() [6]uintptr { return [6]uintptr{^uintptr(99), pointer("/"), 1} }},
	"pivot_root":        {unix.SYS_PIVOT_ROOT, func() [6]uintptr { return [6]uintptr{pointer("/"), pointer("/")} }},
	"chroot":            {unix.SYS_CHROOT, func() [6]uintptr { return [6]uintptr{pointer("/")} }},
	"unshare_user":      {unix.SYS_UNSHARE, plain(unix.CLONE_NEWUSER)},
	"unshare_net":       {unix.SYS_UNSHARE, plain(unix.CLONE_NEWNET)},
	"clone3":            {unix.SYS_CLONE3, plain(0, 0)},
	"setns":             {unix.SYS_SETNS, plain(0, 0)},
	"swapon":            {unix.SYS_SWAPON, func() [6]uintptr { return [6]uintptr{pointer("/tmp/x"), 0} }},
	"reboot":            {unix.SYS_REBOOT, plain(0, 0, 0)},
	"open_by_handle_at": {unix.SYS_OPEN_BY_HANDLE_AT, plain(0, 0, 0)},
	"netlink_netfilter": {unix.SYS_SOCKET, plain(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)},
	"netlink_route":     {unix.SYS_SOCKET, plain(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)},
	"packet_socket":     {unix.SYS_SOCKET, plain(unix.AF_PACKET, unix.SOCK_RAW, 0)},
	"raw_socket":        {unix.SYS_SOCKET, plain(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)},
	"vsock_socket":      {unix.SYS_SOCKET, plain(unix.AF_VSOCK, unix.SOCK_STREAM, 0)},
	"alg_socket":        {unix.SYS_SOCKET, plain(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)},
	"tcp_socket":        {unix.SYS_SOCKET, plain(unix.AF_INET, unix.SOCK_STREAM, 0)},
	"prctl_dumpable":    {unix.SYS_PRCTL, plain(unix.PR_GET_DUMPABLE)},
}

func trySyscall(args []string) error {
	c, ok := calls[args[0]]
	if !ok {
		return fmt.Errorf("no call %q", args[0])
	}
	a := c.args()
	_, _, errno := unix.Syscall6(c.number, a[0], a[1], a[2], a[3], a[4], a[5])
	switch errno {
	case 0:
		return nil
	case unix.EPERM, unix.ENOSYS, unix.EACCES, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT, unix.ESOCKTNOSUPPORT:
		return errno
	}
	fmt.Printf("the kernel looked at it: %v\n", errno)
	return nil
}

// tryPtrace attaches to a process; "child" is one of the probe's own.
func tryPtrace(args []string) error {
	if args[0] == "child" {
		cmd := exec.Command("sleep", "5")
		if err := cmd.Start(); err != nil {
			return err
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		return unix.PtraceSeize(cmd.Process.Pid)
	}
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	return unix.PtraceSeize(pid)
}

// tryMemfd runs a program from memory and says which walls it finds itself in.
func tryMemfd([]string) error {
	fd, err := unix.MemfdCreate("program", 0)
	if err != nil {
		return err
	}
	program, err := os.ReadFile("/bin/cat")
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, program); err != nil {
		return err
	}
	out, err := exec.Command(fmt.Sprintf("/proc/self/fd/%d", fd), "/proc/self/status").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "NoNewPrivs") || strings.HasPrefix(line, "Seccomp:") {
			fmt.Print(line)
		}
	}
	return nil
}
