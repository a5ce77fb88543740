package desk

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// agent is the program as PID 1 sees it.
type agent struct {
	pid int
	tty int // the slave of the desk's pty, or -1
}

type started struct {
	pid, landlock int
	err           error
}

// walled is a thread behind every wall, waiting for the word to start the
// program. Restricting one thread and not all keeps PID 1 able to signal the
// agent, while the agent, which inherits the thread's restrictions, cannot
// reach PID 1.
type walled struct {
	ready chan started // once: Landlock version, or an error
	start chan struct{}
	done  chan started // once: the process
}

// raiseWalls restricts a thread and keeps it until the program is started.
func raiseWalls(link *Link, p *Plan, writable []string, streams [3]int, tty int) *walled {
	w := &walled{ready: make(chan started, 1), start: make(chan struct{}), done: make(chan started, 1)}
	go w.thread(link, p, writable, streams, tty)
	return w
}

func (w *walled) thread(link *Link, p *Plan, writable []string, streams [3]int, tty int) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread stands for the process in the kernel's checks and
		// cannot be ended: hold it, so that another thread is taken.
		defer runtime.UnlockOSThread()
		released := make(chan struct{})
		go func() {
			defer close(released)
			w.thread(link, p, writable, streams, tty)
		}()
		<-released
		return
	}
	// Not unlocked below: the thread ends with this goroutine.
	version, err := restrict(link, p, writable)
	w.ready <- started{landlock: version, err: err}
	if err != nil {
		return
	}
	<-w.start
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, usualSlack, 0, 0, 0)
	pid, err := launch(p, streams, tty)
	w.done <- started{pid: pid, err: err}
}

// Slack is how late timers of PID 1 may be, in nanoseconds: its runtime would
// wake every few dozen microseconds to see whether a system call takes long,
// which costs a start more than it gains. The agent has what Linux gives every
// process.
const (
	Slack      = 1_000_000
	usualSlack = 50_000
)

// restrict takes everything from the calling thread, seccomp last.
func restrict(link *Link, p *Plan, writable []string) (landlock int, err error) {
	if err := dropCapabilities(); err != nil {
		return 0, failed("dropping capabilities", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, failed("forbidding new privileges", err)
	}
	landlock, err = restrictFiles(writable)
	if err != nil {
		return 0, failed("restricting files", err)
	}
	if p.Watched {
		if err := handOverExecutions(link); err != nil {
			return 0, failed("watching executions", err)
		}
	}
	return landlock, failed("restricting system calls", restrictCalls())
}

func dropCapabilities() error {
	for c := uintptr(0); ; c++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) && c > unix.CAP_LAST_CAP/2 {
			break // past the last one this kernel knows
		}
		if err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	var none [2]unix.CapUserData
	return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0])
}

// launch starts the program as a job of PID 1's session, as a shell would, so
// that it can be stopped and continued from a terminal.
func launch(p *Plan, streams [3]int, tty int) (int, error) {
	attr := &syscall.ProcAttr{
		Dir:   p.Dir,
		Env:   p.Env,
		Files: []uintptr{uintptr(streams[0]), uintptr(streams[1]), uintptr(streams[2])},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	}
	if tty >= 0 {
		attr.Sys.Foreground = true
		attr.Sys.Ctty = tty
	}
	pid, err := syscall.ForkExec(p.Program, p.Args, attr)
	if err != nil {
		return 0, notStarted(p.Program, err)
	}
	return pid, nil
}

// notStarted says which exit code a program deserves that did not start.
func notStarted(program string, err error) error {
	f := &Failure{Code: codeNotExecutable, Step: "starting " + program, Err: err}
	var st unix.Stat_t
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		if unix.Stat(program, &st) == nil {
			f.Err = fmt.Errorf("its interpreter or loader is not on the desk: %w", err)
		} else {
			f.Code = codeNotFound
		}
	}
	return f
}

// limitProcesses bounds the desk's processes and threads. The kernel counts
// them per user namespace, so those of the host do not count. PID 1 keeps a
// few for itself, since a Go program that cannot start a thread dies.
func limitProcesses(n int64) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &l); err != nil {
		return err
	}
	l.Max = min(l.Max, uint64(n)+spareThreads)
	l.Cur = min(l.Max, uint64(n))
	return unix.Setrlimit(unix.RLIMIT_NPROC, &l)
}

const spareThreads = 32

// settleLimits takes the spare from the program that has just been started,
// and gives it to PID 1.
func settleLimits(pid int) {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NPROC, &l) != nil {
		return
	}
	agent := unix.Rlimit{Cur: l.Cur, Max: l.Cur}
	_ = unix.Prlimit(pid, unix.RLIMIT_NPROC, &agent, nil)
	l.Cur = l.Max
	_ = unix.Setrlimit(unix.RLIMIT_NPROC, &l)
}
