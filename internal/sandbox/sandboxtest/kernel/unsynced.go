//go:build linux

package kernel

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// unsynced are the files that were written to since they were last synced, by
// inode: open here, so that they are found by whatever name they have then.
// Only the goroutine that answers calls uses it.
type unsynced map[inode]grown

type inode struct{ dev, number uint64 }

// grown is a file that was written to, and its length before that.
type grown struct {
	file   *os.File
	length int64
}

// watch takes a call into account that is about to be made.
func (u *unsynced) watch(c *call, path string) {
	switch c.nr {
	case unix.SYS_SYNCFS:
		u.synced(func(inode) bool { return true })
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		if id, _, ok := stat(c.link()); ok {
			u.synced(func(other inode) bool { return other == id })
		}
	case unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_WRITEV:
		if fd, err := c.borrow(int(c.args[0])); err == nil {
			u.written(os.NewFile(uintptr(fd), path))
		}
	case unix.SYS_OPENAT:
		if c.args[2]&unix.O_TRUNC != 0 {
			if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
				u.written(f)
			}
		}
	}
}

// link leads to the file that the first argument is open on.
func (c *call) link() string { return fmt.Sprintf("/proc/%d/fd/%d", c.pid, int32(c.args[0])) }

func stat(path string) (inode, int64, bool) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return inode{uint64(st.Dev), st.Ino}, st.Size, err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

func (u *unsynced) written(f *os.File) {
	id, length, ok := stat(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if _, known := (*u)[id]; known || !ok {
		f.Close()
		return
	}
	if *u == nil {
		*u = unsynced{}
	}
	(*u)[id] = grown{f, length}
}

// synced forgets files; their content is on the disk.
func (u *unsynced) synced(which func(inode) bool) {
	for id, g := range *u {
		if which(id) {
			g.file.Close()
			delete(*u, id)
		}
	}
}

// lose takes from every file what was written to it since it was synced.
func (u *unsynced) lose() {
	for _, g := range *u {
		_ = g.file.Truncate(g.length)
	}
}
