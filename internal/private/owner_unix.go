//go:build unix

package private

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// openFile opens what lies at path itself: it follows no link and does not
// wait for the other end of a pipe.
func openFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// ownerOf returns whose a file is and how many names it has.
func ownerOf(info fs.FileInfo) (uid int, links uint64, err error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, 0, errors.New("has no owner that can be checked")
	}
	return int(st.Uid), uint64(st.Nlink), nil
}

// lock waits for the exclusive lock on f, which lasts until f is closed.
func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX) }
