//go:build linux

package attack

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// child starts a process of the agent's own, does something with it and ends it.
func child(do func(pid int) error) func(*Stage) error {
	return func(*Stage) error {
		cmd := exec.Command("/bin/sleep", "20")
		if err := cmd.Start(); err != nil {
			return err
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		settle(cmd.Process.Pid)
		return do(cmd.Process.Pid)
	}
}

// settle waits until a process has its arguments and environment: it is there
// a moment before them.
func settle(pid int) {
	for range 5000 {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err != nil || len(b) > 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func kills(pid int, sig unix.Signal) error { return unix.Kill(pid, sig) }

// readsMemory reads a word of a process's program.
func readsMemory(pid int) error {
	local := make([]byte, 8)
	_, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &local[0], Len: 8}}, []unix.RemoteIovec{{Base: mapped(pid), Len: 8}}, 0)
	return err
}

// mapped is an address that a process has, as far as this one may know.
func mapped(pid int) uintptr {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/maps")
	if err != nil {
		return 0x400000
	}
	first, _, _ := strings.Cut(string(b), "-")
	n, _ := strconv.ParseUint(first, 16, 64)
	return uintptr(n)
}

// traces attaches to a process and lets it go.
func traces(pid int) error {
	if err := unix.PtraceAttach(pid); err != nil {
		return err
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(pid, &ws, unix.WALL, nil); err != nil {
		return err
	}
	return unix.PtraceDetach(pid)
}

// takesDescriptor copies descriptor 0 of a process.
func takesDescriptor(pid int) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, 0, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// onProcess are the ways to get at a process, each with what it is called.
var onProcess = []struct {
	name, tries string
	try         func(pid int) error
}{
	{"ptrace", "trace", traces},
	{"vm-read", "read the memory of (process_vm_readv)", readsMemory},
	{"pidfd-getfd", "take a descriptor of (pidfd_getfd)", takesDescriptor},
	{"mem", "open the memory of (/proc/…/mem)", func(pid int) error { return opens(at(fmt.Sprintf("/proc/%d/mem", pid)))(nil) }},
	{"environ", "read the environment of", func(pid int) error { return reads(at(fmt.Sprintf("/proc/%d/environ", pid)))(nil) }},
	{"fd", "list the descriptors of", func(pid int) error { return lists(at(fmt.Sprintf("/proc/%d/fd", pid)))(nil) }},
}

// processes are attacks on the desk's first process, which built the walls.
func processes() []Attack {
	var rows []Attack
	for _, w := range onProcess {
		rows = append(rows, Attack{Name: "pid1:" + w.name, Tries: w.tries + " PID 1 of the desk", By: forbidden,
			Try: func(*Stage) error { return w.try(1) }, Twin: child(w.try), TwinTries: "the same with an own process"})
	}
	signal := func(name string, sig unix.Signal) Attack {
		return Attack{Name: "pid1:" + name, Tries: "end or stop PID 1 of the desk by " + unix.SignalName(sig), By: forbidden,
			Try: func(*Stage) error { return unmoved(sig) }, Twin: child(func(pid int) error { return kills(pid, sig) }), TwinTries: "signal an own process"}
	}
	rows = append(rows, signal("kill", unix.SIGKILL), signal("stop", unix.SIGSTOP), signal("term", unix.SIGTERM), signal("segv", unix.SIGSEGV), signal("quit", unix.SIGQUIT))
	return append(rows,
		Attack{Name: "bystander:kill", Tries: "signal a process of the same user outside", By: nobody, Needs: bystander,
			Try: func(s *Stage) error { return on(s.Bystander, func(pid int) error { return kills(pid, 0) }) }, Twin: child(func(pid int) error { return kills(pid, 0) }), TwinTries: "signal an own process"},
		Attack{Name: "bystander:see", Tries: "see a process of the same user outside in /proc", By: absent, Needs: bystander,
			Try: func(s *Stage) error {
				return on(s.Bystander, func(pid int) error { return lists(at(fmt.Sprintf("/proc/%d", pid)))(nil) })
			},
			Twin: child(func(pid int) error { return lists(at(fmt.Sprintf("/proc/%d", pid)))(nil) }), TwinTries: "see an own process"},
		Attack{Name: "outlive", Tries: "leave a process behind that outlives the run", Needs: func(s *Stage) bool { return s.Mark != "" },
			Try: func(s *Stage) error { return leaves(s.Mark) }, Twin: child(func(int) error { return nil }), TwinTries: "start a process"},
	)
}

// unmoved signals PID 1. Where Landlock has no scopes it hears the signal and
// does nothing about it.
func unmoved(sig unix.Signal) error {
	if err := unix.Kill(1, sig); err != nil {
		return err
	}
	time.Sleep(20 * time.Millisecond) // a PID 1 that ends takes this process along
	b, err := os.ReadFile("/proc/1/status")
	if err == nil && strings.Contains(string(b), "State:\tT") {
		return nil
	}
	return stopped("PID 1 hears it and stays")
}

// leaves starts a process in a session of its own that nobody waits for. The
// stage looks outside, once the run is over, whether it is gone.
func leaves(mark string) error {
	cmd := exec.Command("/bin/sleep", mark)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	_ = cmd.Process.Release()
	return stopped("it starts; that it ends with the run is looked at outside")
}

func bystander(s *Stage) bool { return s.Bystander.PID != 0 }

// StartOf says when a process started, in ticks since the machine did, as every
// pid namespace counts; 0 where it cannot be seen.
func StartOf(pid int) (ticks uint64) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:])) // the name may hold anything
	if len(fields) > 19 {
		ticks, _ = strconv.ParseUint(fields[19], 10, 64)
	}
	return ticks
}

// on does something to a process outside, unless that number is another
// process here.
func on(p Process, do func(pid int) error) error {
	if start := StartOf(p.PID); start != 0 && start != p.Started {
		return stopped("that number is another process here")
	}
	return do(p.PID)
}

// supervisor are attacks on what walls the desk in, from outside.
func supervisor() []Attack {
	var rows []Attack
	needs := func(s *Stage) bool { return s.Supervisor.PID != 0 }
	for _, w := range onProcess {
		rows = append(rows, Attack{Name: "supervisor:" + w.name, Tries: w.tries + " the supervisor", By: either(absent, nobody), Needs: needs,
			Try: func(s *Stage) error { return on(s.Supervisor, w.try) }, Twin: child(w.try), TwinTries: "the same with an own process"})
	}
	state := func(name string) func(*Stage) string {
		return func(s *Stage) string { return s.State + "/" + name }
	}
	return append(rows,
		Attack{Name: "supervisor:signal", Tries: "signal the supervisor", By: nobody, Needs: needs,
			Try: func(s *Stage) error { return on(s.Supervisor, func(pid int) error { return kills(pid, 0) }) }, Twin: child(func(pid int) error { return kills(pid, 0) }), TwinTries: "signal an own process"},
		Attack{Name: "supervisor:pidfd", Tries: "open a descriptor of the supervisor (pidfd_open)", By: nobody, Needs: needs,
			Try:  func(s *Stage) error { return on(s.Supervisor, opensPidfd) },
			Twin: child(opensPidfd), TwinTries: "the same with an own process"},
		Attack{Name: "supervisor:state", Tries: "list Carrel's state directory", By: absent, Try: lists(state("")), Twin: lists(inWorkspace("")), TwinTries: "list the workspace"},
		Attack{Name: "supervisor:keys", Tries: "list the keys that sign the log", By: absent, Try: lists(state("keys")), Twin: lists(inWorkspace("")), TwinTries: "list the workspace"},
		Attack{Name: "supervisor:log", Tries: "list the log", By: absent, Try: lists(state("log")), Twin: lists(inWorkspace("")), TwinTries: "list the workspace"},
		Attack{Name: "supervisor:state-write", Tries: "make a directory in Carrel's state", By: either(absent, readOnly), Try: makes(state("attack")), Twin: makes(inWorkspace("dir")), TwinTries: "make a directory in the workspace"},
		Attack{Name: "supervisor:notices", Tries: "open the run's notices for writing", By: readOnly, Needs: func(s *Stage) bool { return s.Notices != "" },
			Try: opens(func(s *Stage) string { return s.Notices }), Twin: opensToRead(func(s *Stage) string { return s.Notices }), TwinTries: "open them for reading"},
		Attack{Name: "supervisor:descriptors", Tries: "find a descriptor that the supervisor left open", Try: inherited, Twin: ownPipe, TwinTries: "open an own pipe"},
		Attack{Name: "supervisor:streams", Tries: "reopen a file of the host through standard output", Try: reopensOutput, Twin: ownPipe, TwinTries: "open an own pipe"},
		Attack{Name: "supervisor:terminal", Tries: "open the terminal that the supervisor has", By: []error{unix.ENXIO, unix.ENOENT, unix.EIO}, Try: opens(at("/dev/tty")), Twin: opens(at("/dev/ptmx")), TwinTries: "make a terminal of one's own"},
	)
}

func opensPidfd(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func opensToRead(path func(*Stage) string) func(*Stage) error {
	return func(s *Stage) error {
		f, err := os.Open(path(s))
		if err == nil {
			f.Close()
		}
		return err
	}
}

// inherited looks for open files that this process did not open.
func inherited(*Stage) error {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, n := range names {
		fd, _ := strconv.Atoi(n.Name())
		to, err := os.Readlink("/proc/self/fd/" + n.Name())
		// Go's own are the poller's; the directory being read is gone by now.
		if fd < 3 || err != nil || strings.HasPrefix(to, "anon_inode:[event") || strings.HasPrefix(to, "/proc/") {
			continue
		}
		return fmt.Errorf("descriptor %d is open: %s", fd, to)
	}
	return stopped("only 0, 1 and 2 are open")
}

func reopensOutput(*Stage) error {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/fd/1", &st); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
		return stopped("a pipe of the desk's own")
	case unix.S_IFCHR:
		if to, _ := os.Readlink("/proc/self/fd/1"); strings.HasPrefix(to, "/dev/pts/") {
			return stopped("a terminal of the desk's own")
		}
	}
	return nil
}

func ownPipe(*Stage) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	return errors.Join(r.Close(), w.Close())
}
