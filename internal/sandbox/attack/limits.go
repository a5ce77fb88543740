//go:build linux

package attack

import (
	"os"

	"golang.org/x/sys/unix"
)

// limits are attempts to take more than was given. Only such are here as the
// kernel refuses before anything is taken, or as a limit was asked for.
func limits() []Attack {
	const petabyte = 1 << 50
	return []Attack{
		{Name: "limit:tmp", Tries: "take a petabyte of /tmp", By: []error{unix.ENOSPC, unix.EFBIG}, Try: func(*Stage) error { return reserves("/tmp", petabyte) },
			Twin: func(*Stage) error { return reserves("/tmp", 4096) }, TwinTries: "take a page of it"},
		{Name: "limit:shm", Tries: "take a petabyte of /dev/shm", By: []error{unix.ENOSPC, unix.EFBIG}, Try: func(*Stage) error { return reserves("/dev/shm", petabyte) },
			Twin: func(*Stage) error { return reserves("/dev/shm", 4096) }, TwinTries: "take a page of it"},
		{Name: "limit:processes", Tries: "start more processes than were allowed", By: []error{unix.EAGAIN}, Alone: true, Needs: func(s *Stage) bool { return s.Pids > 0 },
			Try: func(s *Stage) error { return starts(s.Pids + 1) }, Twin: func(*Stage) error { return starts(8) }, TwinTries: "start some"},
		{Name: "limit:raise", Tries: "raise the limit of processes", By: forbidden, Try: func(*Stage) error {
			return unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
		}, Twin: lowersLimit, TwinTries: "lower another limit"},
		{Name: "limit:oom", Tries: "be spared when memory runs out", By: forbidden, Alone: true, Try: func(*Stage) error { return writesScore("-1000") },
			Twin: func(*Stage) error { return writesScore("1000") }, TwinTries: "offer to be the first"},
	}
}

func reserves(dir string, size int64) error {
	f, err := os.CreateTemp(dir, "attack")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return unix.Fallocate(int(f.Fd()), 0, 0, size)
}

// starts starts so many processes, which only wait, and ends them.
func starts(n int) error {
	var running []int
	defer func() {
		for _, pid := range running {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, 0, nil)
		}
	}()
	for range n {
		pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			return errno
		}
		if pid == 0 {
			for {
				unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
			}
		}
		running = append(running, int(pid))
	}
	return nil
}

func writesScore(score string) error {
	return os.WriteFile("/proc/self/oom_score_adj", []byte(score), 0)
}
