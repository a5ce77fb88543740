package desk

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// become makes PID 1 the desk's user where that is not who started it: 0 is
// nobody to become.
func become(id int) error {
	if id == 0 {
		return nil
	}
	if err := syscall.Setgroups(nil); err != nil {
		return failed("giving up groups", err)
	}
	if err := syscall.Setresgid(id, id, id); err != nil {
		return failed("taking the desk's group", err)
	}
	return failed("becoming the desk's user", syscall.Setresuid(id, id, id))
}

// settle makes PID 1 what it must be before anything else: out of reach of
// the agent, and gone when the supervisor is.
func settle() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return failed("hiding PID 1", err)
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return failed("tying PID 1 to the supervisor", err)
	}
	// Piped core handlers run on the host whatever the limit, unless it is 1.
	core := unix.Rlimit{Cur: 1, Max: 1}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &core); err != nil {
		return failed("switching core dumps off", err)
	}
	// Caught and not ignored: what is ignored stays ignored in the program.
	// Where Landlock knows no scopes the agent can send any of them, among
	// them those at which a Go program gives up.
	signal.Notify(make(chan os.Signal, 1), unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV,
		unix.SIGSTKFLT, unix.SIGSYS, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGPIPE,
		unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM)
	return nil
}
