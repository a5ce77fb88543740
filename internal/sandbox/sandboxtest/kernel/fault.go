//go:build linux

package kernel

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Failure is a way in which a call to the disk goes wrong.
type Failure string

// The ways. Of a write that is short half gets through; Full is that, and no
// room for any write that follows. Unread is for calls that only look.
const (
	Broken Failure = "broken" // an error of the disk
	Killed Failure = "killed" // the process that made the call dies before it
	Short  Failure = "short"
	Full   Failure = "full"
	Unread Failure = "unread" // an error of the disk
	// Cut is a power cut as a file system may leave it that keeps names in their
	// order and writes what is in files when it is told to: the caller dies, and
	// no file is longer than when it was last synced.
	Cut Failure = "cut"
)

// Failures are all of them.
var Failures = []Failure{Broken, Killed, Short, Full, Unread, Cut}

// Fault names a kernel whose nth call on something below one of the directories
// fails, of the calls that can fail so. The file mark is made when that happens.
func Fault(n int, how Failure, mark string, dirs ...string) string {
	return strings.Join(append([]string{string(how), strconv.Itoa(n), mark}, dirs...), ":")
}

// fault is one such kernel.
type fault struct {
	at   int64
	how  Failure
	mark string
	dirs []string
	seen atomic.Int64
	lost unsynced
}

// faultLacks reads what Fault named.
func faultLacks(name string) ([]lack, bool) {
	words := strings.Split(name, ":")
	if len(words) < 4 || !slices.Contains(Failures, Failure(words[0])) {
		return nil, false
	}
	n, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil {
		return nil, false
	}
	f := &fault{at: n, how: Failure(words[0]), mark: words[2], dirs: words[3:]}
	var out []lack
	for nr, target := range f.calls() {
		out = append(out, lack{nr, func(c *call) (int64, unix.Errno, bool) { return f.strike(c, target(c)) }})
	}
	return out, true
}

// calls are those that can fail in this way, with what each is about.
func (f *fault) calls() map[uint32]func(c *call) string {
	switch f.how {
	case Short, Full:
		return writing
	case Unread:
		return looking
	}
	return changing
}

// strike counts a call on path, and fails the one that is due.
func (f *fault) strike(c *call, path string) (int64, unix.Errno, bool) {
	below := func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
	if path == "" || !slices.ContainsFunc(f.dirs, below) {
		return 0, 0, false
	}
	n := f.seen.Add(1)
	if f.how == Cut && n < f.at {
		f.lost.watch(c, path)
	}
	if n > f.at && f.how == Full {
		return 0, unix.ENOSPC, true
	}
	if n > f.at && f.how == Cut { // by another process
		_ = unix.Kill(int(c.pid), unix.SIGKILL)
		return 0, unix.EIO, true
	}
	if n != f.at {
		return 0, 0, false
	}
	_ = os.WriteFile(f.mark, fmt.Appendf(nil, "call %d on %s\n", c.nr, path), 0o600)
	switch f.how {
	case Short, Full:
		wrote, err := c.writeHalf()
		if err != nil {
			return 0, unix.EIO, true
		}
		return int64(wrote), 0, true
	case Cut:
		f.lost.lose()
		_ = unix.Kill(int(c.pid), unix.SIGKILL)
	case Killed:
		_ = unix.Kill(int(c.pid), unix.SIGKILL)
	}
	return 0, unix.EIO, true
}

// writeHalf makes half of a write in the stead of who called.
func (c *call) writeHalf() (int, error) {
	fd, err := c.borrow(int(c.args[0]))
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	half := c.memory(c.args[1], int((c.args[2]+1)/2))
	if c.nr == unix.SYS_PWRITE64 {
		return unix.Pwrite(fd, half, int64(c.args[3]))
	}
	return unix.Write(fd, half)
}

// borrow is a descriptor on the same open file as one of the caller's.
func (c *call) borrow(fd int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.pid))
	if err != nil {
		return -1, err
	}
	var process int
	_, rest, _ := strings.Cut(string(status), "\nTgid:")
	if _, err := fmt.Sscan(rest, &process); err != nil {
		return -1, err
	}
	pidfd, err := unix.PidfdOpen(process, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(pidfd)
	return unix.PidfdGetfd(pidfd, fd, 0)
}

// writing are the calls that write a part of what they are given.
var writing = map[uint32]func(c *call) string{unix.SYS_WRITE: (*call).descriptor, unix.SYS_PWRITE64: (*call).descriptor}

// looking are the calls that read files and directories.
var looking = map[uint32]func(c *call) string{
	unix.SYS_READ: (*call).descriptor, unix.SYS_PREAD64: (*call).descriptor, unix.SYS_GETDENTS64: (*call).descriptor,
	unix.SYS_OPENAT: func(c *call) string {
		if alters(c) {
			return ""
		}
		return c.path(0, 1)
	},
}

// alters says whether an openat is for more than reading.
func alters(c *call) bool {
	return c.args[2]&(unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC) != 0
}

// changing are the calls that change files, with what each changes.
var changing = map[uint32]func(c *call) string{
	unix.SYS_WRITE: (*call).descriptor, unix.SYS_PWRITE64: (*call).descriptor, unix.SYS_WRITEV: (*call).descriptor,
	unix.SYS_FSYNC: (*call).descriptor, unix.SYS_FDATASYNC: (*call).descriptor, unix.SYS_SYNCFS: (*call).descriptor,
	unix.SYS_FTRUNCATE: (*call).descriptor, unix.SYS_FALLOCATE: (*call).descriptor, unix.SYS_FCHMOD: (*call).descriptor,
	unix.SYS_OPENAT: func(c *call) string {
		if !alters(c) {
			return ""
		}
		return c.path(0, 1)
	},
	unix.SYS_RENAMEAT: second, unix.SYS_RENAMEAT2: second, unix.SYS_LINKAT: second,
	unix.SYS_MKDIRAT: first, unix.SYS_UNLINKAT: first, unix.SYS_FCHMODAT: first, unix.SYS_FCHOWNAT: first, unix.SYS_UTIMENSAT: first,
}

func first(c *call) string  { return c.path(0, 1) }
func second(c *call) string { return c.path(2, 3) }

// descriptor is what the first argument is open on; "" if that is no file.
func (c *call) descriptor() string { return c.opened(int32(c.args[0])) }

func (c *call) opened(fd int32) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", c.pid, fd))
	if err != nil || !strings.HasPrefix(path, "/") {
		return ""
	}
	return path
}

// path is the path in one argument, relative to the directory in another.
func (c *call) path(dir, name int) string { return c.resolve(int32(c.args[dir]), c.args[name]) }

// resolve is the path at an address, relative to a directory.
func (c *call) resolve(dir int32, at uint64) string {
	text, _, _ := bytes.Cut(c.memory(at, unix.PathMax), []byte{0})
	path := string(text)
	switch {
	case path == "" || filepath.IsAbs(path):
	case dir == unix.AT_FDCWD:
		base, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", c.pid))
		path = filepath.Join(base, path)
	default:
		path = filepath.Join(c.opened(dir), path)
	}
	return path
}
