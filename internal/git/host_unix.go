//go:build unix

package git

import (
	"os"
	"os/exec"
	"syscall"
)

// readOnly opens a file for reading without following a link at its end and
// without waiting for a FIFO.
const readOnly = os.O_RDONLY | syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// readWithin is for paths within a root that links cannot leave.
const readWithin = os.O_RDONLY | syscall.O_NONBLOCK

// stat is what is asked of a directory: whose it is, and where.
type stat struct {
	Dev      uint64
	Uid, Gid uint32
}

func ownerOf(path string) (stat, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return stat{}, err
	}
	return statOf(info), nil
}

func statOf(info os.FileInfo) stat {
	s := info.Sys().(*syscall.Stat_t)
	return stat{uint64(s.Dev), s.Uid, s.Gid}
}

// confine starts git in a process group of its own, so that it can be ended
// with its children, and gives up root for a repository of another owner: what
// is written there stays the owner's, and root's rights stay out of it.
func confine(cmd *exec.Cmd, c call) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !c.foreground}
	if os.Geteuid() == 0 && c.as.uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: c.as.uid, Gid: c.as.gid}
	}
}

func end(cmd *exec.Cmd, foreground bool) error {
	if foreground {
		return cmd.Process.Kill()
	}
	return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}
