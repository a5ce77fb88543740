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

// Fault names a kernel whose nth call that changes something below one of the
// directories fails: with an error of the disk, or, if kill is true, by the
// death of the process that made it. The file mark is made when that happens.
func Fault(n int, kill bool, mark string, dirs ...string) string {
	kind := faultWord
	if kill {
		kind = killWord
	}
	return strings.Join(append([]string{kind, strconv.Itoa(n), mark}, dirs...), ":")
}

const faultWord, killWord = "fault", "kill"

// fault is one such kernel.
type fault struct {
	at   int64
	kill bool
	mark string
	dirs []string
	seen atomic.Int64
}

// faultLacks reads what Fault named.
func faultLacks(name string) ([]lack, bool) {
	words := strings.Split(name, ":")
	if len(words) < 4 || words[0] != faultWord && words[0] != killWord {
		return nil, false
	}
	n, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil {
		return nil, false
	}
	f := &fault{at: n, kill: words[0] == killWord, mark: words[2], dirs: words[3:]}
	var out []lack
	for nr, target := range changing {
		out = append(out, lack{nr, func(c *call) (int64, unix.Errno, bool) { return f.strike(c, target(c)) }})
	}
	return out, true
}

// strike counts a call that changes path, and fails the one that is due.
func (f *fault) strike(c *call, path string) (int64, unix.Errno, bool) {
	below := func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
	if path == "" || !slices.ContainsFunc(f.dirs, below) || f.seen.Add(1) != f.at {
		return 0, 0, false
	}
	_ = os.WriteFile(f.mark, fmt.Appendf(nil, "call %d on %s\n", c.nr, path), 0o600)
	if f.kill {
		_ = unix.Kill(int(c.pid), unix.SIGKILL)
	}
	return 0, unix.EIO, true
}

// changing are the calls that change files, with what each changes.
var changing = map[uint32]func(c *call) string{
	unix.SYS_WRITE: (*call).descriptor, unix.SYS_PWRITE64: (*call).descriptor, unix.SYS_WRITEV: (*call).descriptor,
	unix.SYS_FSYNC: (*call).descriptor, unix.SYS_FDATASYNC: (*call).descriptor, unix.SYS_SYNCFS: (*call).descriptor,
	unix.SYS_FTRUNCATE: (*call).descriptor, unix.SYS_FALLOCATE: (*call).descriptor, unix.SYS_FCHMOD: (*call).descriptor,
	unix.SYS_OPENAT: func(c *call) string {
		if c.args[2]&(unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC) == 0 {
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
