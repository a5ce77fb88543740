package workspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fsTime returns the time as the file system of root would write it into a
// ctime now: what later ctimes are compared with. It leaves nothing behind.
//
// The kernel never hands out a smaller ctime after a larger one, and its
// granularity (at most 10 ms) is less than building the walls takes, so that
// a ctime that equals the stamp belongs to what the agent could read. File
// systems that keep whole seconds are another matter: there the stamp is just
// before the second, and what was written in it counts as later.
func fsTime(root, state string) (time.Time, error) {
	now, err := readClock(root, state)
	if err == nil && now.Nanosecond() == 0 {
		now = now.Add(-time.Nanosecond)
	}
	return now, err
}

func readClock(root, state string) (time.Time, error) {
	fd, err := unix.Open(root, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return ctimeAndClose(fd)
	}
	if networked(root) {
		return remoteTime(root)
	}
	// Read-only, or without unnamed files: local file systems share one clock.
	f, err := os.CreateTemp(state, ".stamp-")
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the file system's clock: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return ctimeOf(int(f.Fd()))
}

// remoteTime asks the server's clock, which needs a named file for a moment.
func remoteTime(root string) (time.Time, error) {
	f, err := os.CreateTemp(root, ".carrel-stamp-")
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) {
		return time.Now().UTC(), nil // nothing can be applied here anyway
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the file server's clock: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return ctimeOf(int(f.Fd()))
}

func networked(root string) bool {
	var st unix.Statfs_t
	if unix.Statfs(root, &st) != nil {
		return true
	}
	switch int64(st.Type) {
	case unix.NFS_SUPER_MAGIC, unix.V9FS_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, unix.AFS_SUPER_MAGIC:
		return true
	}
	return false
}

func ctimeAndClose(fd int) (time.Time, error) {
	defer unix.Close(fd)
	return ctimeOf(fd)
}

func ctimeOf(fd int) (time.Time, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return time.Time{}, fmt.Errorf("reading the file system's clock: %w", err)
	}
	return ctime(&st), nil
}

func ctimeOfInfo(info fs.FileInfo) time.Time {
	st := info.Sys().(*syscall.Stat_t)
	return time.Unix(st.Ctim.Sec, st.Ctim.Nsec)
}

func ctime(st *unix.Stat_t) time.Time { return time.Unix(st.Ctim.Sec, st.Ctim.Nsec).UTC() }
