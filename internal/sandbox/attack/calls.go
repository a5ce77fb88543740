//go:build linux

package attack

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// raw makes a system call with arguments that the kernel would refuse later
// for their content: what counts is that the filter answers first.
func raw(nr uintptr, args ...uintptr) func(*Stage) error {
	return func(*Stage) error {
		var a [6]uintptr
		copy(a[:], args)
		if _, _, errno := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
			return errno
		}
		return nil
	}
}

// clone makes a child that ends at once, should it come to be.
func clone(flags uintptr) func(*Stage) error {
	return func(*Stage) error {
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

var clone3Args = [11]uint64{0: unix.CLONE_NEWUSER, 4: uint64(unix.SIGCHLD)}

// word is a string that lives as long as the program.
var word = uintptr(unsafe.Pointer(unsafe.StringData("user\x00")))

// The filter's answers.
var eperm, enosys = []error{unix.EPERM}, []error{unix.ENOSYS}

// refused are the calls that the filter's table must refuse, by its own answer.
var refused = []struct {
	name  string
	tries string
	by    []error
	try   func(*Stage) error
}{
	{"clone:user", "make a user namespace (clone)", eperm, clone(unix.CLONE_NEWUSER)},
	{"clone:mount", "make a mount namespace (clone)", eperm, clone(unix.CLONE_NEWNS)},
	{"clone:net", "make a network namespace (clone)", eperm, clone(unix.CLONE_NEWNET)},
	{"clone:pid", "make a pid namespace (clone)", eperm, clone(unix.CLONE_NEWPID)},
	{"clone3", "make a user namespace (clone3, whose flags no filter can read)", enosys, raw(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&clone3Args)), unsafe.Sizeof(clone3Args))},
	{"unshare:user", "make a user namespace (unshare)", eperm, raw(unix.SYS_UNSHARE, unix.CLONE_NEWUSER)},
	{"unshare:time", "make a time namespace", eperm, raw(unix.SYS_UNSHARE, unix.CLONE_NEWTIME)},
	{"setns", "enter another namespace", eperm, raw(unix.SYS_SETNS, 0, 0)},
	{"mount", "mount a file system", eperm, raw(unix.SYS_MOUNT, word, word, word, 0, 0)},
	{"umount", "take a mount away", eperm, raw(unix.SYS_UMOUNT2, word, 0)},
	{"pivot_root", "change the root (pivot_root)", eperm, raw(unix.SYS_PIVOT_ROOT, word, word)},
	{"chroot", "change the root (chroot)", eperm, raw(unix.SYS_CHROOT, word)},
	{"open_tree", "copy a mount (open_tree)", eperm, raw(unix.SYS_OPEN_TREE, 0, word, 0)},
	{"move_mount", "move a mount", eperm, raw(unix.SYS_MOVE_MOUNT, 0, word, 0, word, 0)},
	{"fsopen", "open a file system (fsopen)", eperm, raw(unix.SYS_FSOPEN, word, 0)},
	{"fsmount", "mount it (fsmount)", eperm, raw(unix.SYS_FSMOUNT, 0, 0, 0)},
	{"mount_setattr", "make a mount writable", eperm, raw(unix.SYS_MOUNT_SETATTR, 0, word, 0, 0, 0)},
	{"open_by_handle_at", "open a file by its handle, past every directory", eperm, raw(unix.SYS_OPEN_BY_HANDLE_AT, 0, word, 0)},
	{"swapon", "swap to a file", eperm, raw(unix.SYS_SWAPON, word, 0)},
	{"io_uring_setup", "open an io_uring", enosys, raw(unix.SYS_IO_URING_SETUP, 1, word)},
	{"io_uring_enter", "enter an io_uring", enosys, raw(unix.SYS_IO_URING_ENTER)},
	{"io_uring_register", "register with an io_uring", enosys, raw(unix.SYS_IO_URING_REGISTER)},
	{"bpf", "load a program into the kernel (bpf)", eperm, raw(unix.SYS_BPF)},
	{"perf", "watch the machine (perf_event_open)", eperm, raw(unix.SYS_PERF_EVENT_OPEN)},
	{"userfaultfd", "stop the kernel at a page (userfaultfd)", eperm, raw(unix.SYS_USERFAULTFD)},
	{"fanotify", "watch the host's files (fanotify)", eperm, raw(unix.SYS_FANOTIFY_INIT)},
	{"add_key", "add to the host's keyrings", eperm, raw(unix.SYS_ADD_KEY, word, word)},
	{"request_key", "ask the host's keyrings", eperm, raw(unix.SYS_REQUEST_KEY, word, word)},
	{"keyctl", "control the host's keyrings", eperm, raw(unix.SYS_KEYCTL)},
	{"kexec", "load another kernel", eperm, raw(unix.SYS_KEXEC_LOAD)},
	{"module", "load a module", eperm, raw(unix.SYS_INIT_MODULE)},
	{"module:file", "load a module from a file", eperm, raw(unix.SYS_FINIT_MODULE)},
	{"syslog", "read the kernel's messages", eperm, raw(unix.SYS_SYSLOG, 10)},
	{"reboot", "restart the machine (with a wrong magic)", eperm, raw(unix.SYS_REBOOT)},
	{"settime", "set the clock (to nothing)", eperm, raw(unix.SYS_CLOCK_SETTIME)},
	{"hostname", "rename the desk (to a name of no length)", eperm, raw(unix.SYS_SETHOSTNAME, word, ^uintptr(0))},
	{"acct", "switch accounting on", eperm, raw(unix.SYS_ACCT)},
	{"quotactl", "change quotas", eperm, raw(unix.SYS_QUOTACTL)},
	{"future", "use a call that nobody has looked at", enosys, raw(4000)},
	{"tiocsti", "type into a terminal", eperm, raw(unix.SYS_IOCTL, 0, unix.TIOCSTI, word)},
	{"tiocsti:high", "type into a terminal, the high half of the command set", eperm, raw(unix.SYS_IOCTL, 0, unix.TIOCSTI|1<<32, word)},
	{"tioclinux", "paste into a console", eperm, raw(unix.SYS_IOCTL, 0, unix.TIOCLINUX, word)},
	{"tiocsetd", "have the kernel load a line discipline", eperm, raw(unix.SYS_IOCTL, 0, unix.TIOCSETD, word)},
	{"tioccons", "take the console's output", eperm, raw(unix.SYS_IOCTL, 0, unix.TIOCCONS, word)},
}

// calls are those, and ways around the table.
func calls() []Attack {
	var rows []Attack
	for _, c := range refused {
		rows = append(rows, Attack{Name: "call:" + c.name, Tries: c.tries, Try: c.try, By: c.by, Twin: ordinaryCalls, TwinTries: "fork, unshare an own directory, set a personality"})
	}
	return append(rows,
		Attack{Name: "call:int80", Tries: "open a file by a 32-bit call", Alone: true, By: []error{unix.ENOEXEC, unix.ENOSYS}, Try: thirtyTwoBits, Twin: ordinaryCalls, TwinTries: "the 64-bit ones"},
		Attack{Name: "call:x32", Tries: "use a call's number of another table (x32)", By: enosys, Try: raw(1<<30 | unix.SYS_GETPID), Twin: raw(unix.SYS_GETPID), TwinTries: "use the call"},
		Attack{Name: "memfd", Tries: "leave the walls by a program in memory", Try: memfd, Twin: ordinaryCalls, TwinTries: "fork, unshare an own directory, set a personality"},
	)
}

// ordinaryCalls are near those that are refused.
func ordinaryCalls(s *Stage) error {
	return errors.Join(clone(0)(s), raw(unix.SYS_UNSHARE, unix.CLONE_FS)(s), raw(unix.SYS_PERSONALITY, 0x0040000)(s))
}

// exit42 is a 32-bit program for x86 that ends with code 42.
var exit42 = []byte("\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x02\x00\x03\x00\x01\x00\x00\x00\x54\x80\x04\x08\x34\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x34\x00\x20\x00\x01\x00\x00\x00\x00\x00\x00\x00" +
	"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x80\x04\x08\x00\x80\x04\x08\x60\x00\x00\x00\x60\x00\x00\x00\x05\x00\x00\x00\x00\x10\x00\x00" +
	"\xb8\x01\x00\x00\x00\xbb\x2a\x00\x00\x00\xcd\x80")

func thirtyTwoBits(s *Stage) error {
	name := filepath.Join(s.Workspace, "exit42")
	defer os.Remove(name)
	if err := os.WriteFile(name, exit42, 0o755); err != nil {
		return err
	}
	return endedByFilter(exec.Command(name).Run())
}

// endedByFilter says how a program fared that made a foreign call.
func endedByFilter(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() && (ws.Signal() == syscall.SIGSYS || ws.Signal() == syscall.SIGSEGV) {
		return stopped("the process is ended (%v)", ws.Signal())
	}
	return nil
}

// memfd runs a program from memory and looks what it may.
func memfd(*Stage) error {
	b, err := os.ReadFile("/bin/cat")
	if err != nil {
		return err
	}
	fd, err := unix.MemfdCreate("cat", 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "cat")
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/fd/3", "/proc/self/status")
	cmd.ExtraFiles = []*os.File{f}
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	return behindWalls(string(out))
}
