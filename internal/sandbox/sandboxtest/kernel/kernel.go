//go:build linux

// Package kernel runs a program on what looks to it, and to all it starts,
// like a kernel or a container that lacks some features: their system calls
// are answered as such a kernel answers them, by seccomp's user notification.
// The program under test needs no switch of its own for that, which an agent
// could find. It is trusted with nothing; only tests import it.
package kernel

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Verb is the first argument of a program that embeds this package and calls
// Main with what follows it.
const Verb = "kernel"

// Main is "LACKS -- PROGRAM [ARG…]", where LACKS are names of Lacks, or what
// Fault returns, joined by commas. It returns the program's exit code.
func Main(args []string) int {
	if len(args) < 3 || args[1] != "--" {
		fmt.Fprintln(os.Stderr, "usage: kernel LACK[,LACK…] -- PROGRAM [ARG…]")
		return 2
	}
	if passed := os.NewFile(listenerFD, "listener"); args[0] == "" {
		return become(passed, args[2:])
	}
	code, err := run(strings.Split(args[0], ","), args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernel:", err)
		return 2
	}
	return code
}

// listenerFD is where the child finds the socket on which it hands over its
// filter's listener.
const listenerFD = 3

// listed are the calls that the filter asks about, in the child's environment.
const listed = "KERNEL_CALLS"

// run starts the program behind a filter and answers for the kernel until it
// has ended.
func run(names []string, argv []string) (int, error) {
	var answers []lack
	for _, name := range names {
		if faults, ok := faultLacks(name); ok {
			answers = append(answers, faults...)
			continue
		}
		l, ok := Lacks[name]
		if !ok {
			return 0, fmt.Errorf("no lack %q", name)
		}
		answers = append(answers, l)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	theirs := os.NewFile(uintptr(pair[1]), "theirs")
	cmd := exec.Command("/proc/self/exe", append([]string{Verb, "", "--"}, argv...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Env = append(os.Environ(), listed+"="+callList(answers))
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	theirs.Close()
	listener, err := receive(pair[0])
	if err != nil {
		return 0, errors.Join(err, cmd.Wait())
	}
	go serve(listener, answers) // ends with this process
	err = cmd.Wait()
	if cmd.ProcessState == nil {
		return 0, err
	}
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

func callList(answers []lack) string {
	var out []string
	for _, a := range answers {
		out = append(out, fmt.Sprint(a.call))
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ",")
}

// become installs the filter on this thread, hands its listener over and
// executes the program.
func become(socket *os.File, argv []string) int {
	runtime.LockOSThread()
	path, err := exec.LookPath(argv[0])
	if err == nil {
		err = install(int(socket.Fd()), os.Getenv(listed))
	}
	if err == nil {
		_ = os.Unsetenv(listed)
		err = unix.Exec(path, argv, os.Environ())
	}
	fmt.Fprintln(os.Stderr, "kernel:", err)
	return 2
}

func install(socket int, calls string) error {
	if os.Geteuid() != 0 { // root need not, and programs that it starts may want more
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}}
	for _, s := range strings.Split(calls, ",") {
		var nr uint32
		if _, err := fmt.Sscan(s, &nr); err != nil {
			return err
		}
		filter = append(filter,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	defer unix.Close(int(fd))
	return unix.Sendmsg(socket, []byte{0}, unix.UnixRights(int(fd)), nil, 0)
}

func receive(socket int) (int, error) {
	defer unix.Close(socket)
	b, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, b, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	parts, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(parts) != 1 {
		return -1, errors.New("the program did not start")
	}
	fds, err := unix.ParseUnixRights(&parts[0])
	if err != nil || len(fds) != 1 {
		return -1, errors.New("no listener came")
	}
	return fds[0], nil
}
