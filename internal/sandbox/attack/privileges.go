//go:build linux

package attack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// privileges are attempts to become more than the agent is.
func privileges() []Attack {
	const staysTries = "become who one is"
	stays := func(*Stage) error { return syscall.Setresuid(os.Getuid(), os.Getuid(), os.Getuid()) }
	status := func(field, want string) func(*Stage) error {
		return func(*Stage) error {
			b, err := os.ReadFile("/proc/thread-self/status")
			if err != nil {
				return err
			}
			_, rest, _ := strings.Cut(string(b), "\n"+field+":\t")
			if value, _, _ := strings.Cut(rest, "\n"); value == want {
				return stopped("%s is %s", field, value)
			}
			return nil
		}
	}
	const none = "0000000000000000"
	rows := []Attack{
		{Name: "uid:0", Tries: "become user 0", By: either(forbidden, []error{unix.EINVAL}), Alone: true, Try: func(*Stage) error { return syscall.Setresuid(0, 0, 0) }, Twin: stays, TwinTries: staysTries},
		{Name: "gid:0", Tries: "become group 0", By: either(forbidden, []error{unix.EINVAL}), Alone: true, Try: func(*Stage) error { return syscall.Setresgid(0, 0, 0) }, Twin: stays, TwinTries: staysTries},
		{Name: "groups", Tries: "join another group", By: forbidden, Alone: true, Try: func(*Stage) error { return syscall.Setgroups([]int{0}) }, Twin: stays, TwinTries: staysTries},
		{Name: "uid:host-root", Tries: "be the host's user 0 behind the mapping", Try: mapsRoot, Twin: stays, TwinTries: staysTries},
		{Name: "no-new-privs", Tries: "run with privileges of set-uid programs", Try: status("NoNewPrivs", "1"), Twin: stays, TwinTries: staysTries},
		{Name: "seccomp", Tries: "run without a system call filter", Try: status("Seccomp", "2"), Twin: stays, TwinTries: staysTries},
		{Name: "setuid", Tries: "keep a set-uid program of the agent's own working", Try: setuidCopy, Twin: stays, TwinTries: staysTries},
		{Name: "ambient", Tries: "raise an ambient capability", By: forbidden, Try: func(*Stage) error {
			return unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_NET_RAW, 0, 0)
		}, Twin: stays, TwinTries: staysTries},
		{Name: "capset", Tries: "take capabilities", By: forbidden, Try: func(*Stage) error {
			all := [2]unix.CapUserData{{Effective: 1<<32 - 1, Permitted: 1<<32 - 1}, {Effective: 1<<9 - 1, Permitted: 1<<9 - 1}}
			return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &all[0])
		}, Twin: stays, TwinTries: staysTries},
		{Name: "nice", Tries: "take precedence over the host's processes", By: forbidden, Alone: true, Try: func(*Stage) error { return unix.Setpriority(unix.PRIO_PROCESS, 0, -10) },
			Twin: func(*Stage) error { return unix.Setpriority(unix.PRIO_PROCESS, 0, min(niceness()+1, 19)) }, TwinTries: "give precedence to others"},
		{Name: "realtime", Tries: "run in real time", By: forbidden, Alone: true, Try: func(*Stage) error {
			return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
		}, Twin: func(*Stage) error {
			return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_BATCH, Nice: int32(niceness())}, 0)
		}, TwinTries: "run as a batch job"},
		{Name: "core", Tries: "let the host's core handler run", By: forbidden, Try: func(*Stage) error {
			return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
		}, Twin: lowersLimit, TwinTries: "lower another limit"},
	}
	for _, c := range [][2]string{{"CapEff", "effective"}, {"CapPrm", "permitted"}, {"CapBnd", "bounding"}, {"CapAmb", "ambient"}, {"CapInh", "inheritable"}} {
		rows = append(rows, Attack{Name: "capabilities:" + c[1], Tries: "have " + c[1] + " capabilities", Try: status(c[0], none), Twin: stays, TwinTries: staysTries})
	}
	return rows
}

// mapsRoot looks whom the desk's user is outside.
func mapsRoot(*Stage) error {
	for _, name := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var inside, outside, count int
		if n, _ := fmt.Sscan(string(b), &inside, &outside, &count); n != 3 || outside == 0 || count != 1 {
			return nil
		}
	}
	return stopped("one user is mapped, and it is not 0 outside")
}

// setuidCopy gives a program the set-uid bit and asks it who it is.
func setuidCopy(s *Stage) error {
	b, err := os.ReadFile("/bin/cat")
	if err != nil {
		return err
	}
	name := filepath.Join(s.Workspace, "setuid")
	defer os.Remove(name)
	if err := os.WriteFile(name, b, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(name, 0o755|os.ModeSetuid|os.ModeSetgid); err != nil {
		return err
	}
	out, err := exec.Command(name, "/proc/self/status").Output()
	if err != nil {
		return err
	}
	id := fmt.Sprintf("\nUid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", os.Getuid())
	if strings.Contains(string(out), id) && strings.Contains(string(out), "\nNoNewPrivs:\t1\n") {
		return stopped("it has no other rights")
	}
	return nil
}

// niceness is this process's own; the call counts the other way round.
func niceness() int {
	prio, _ := unix.Getpriority(unix.PRIO_PROCESS, 0)
	return 20 - prio
}

func lowersLimit(*Stage) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MSGQUEUE, &l); err != nil {
		return err
	}
	l.Cur = min(l.Cur, 4096)
	return unix.Setrlimit(unix.RLIMIT_MSGQUEUE, &l)
}
