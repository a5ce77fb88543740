//go:build unix

package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// openFile opens what lies at path itself: it follows no link and does not
// wait for the other end of a pipe.
func openFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

func onlyMine(f *os.File) error {
	info, st, err := owned(f)
	switch {
	case err != nil:
		return err
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("belongs to user %d, not to you (%d)", st.Uid, os.Geteuid())
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("has mode %04o; others must not reach it (chmod %04o)", info.Mode().Perm(), modeOf(info))
	case !info.IsDir() && st.Nlink != 1:
		return errors.New("has a second name (hard link)")
	}
	return nil
}

func modeOf(info fs.FileInfo) fs.FileMode {
	if info.IsDir() {
		return 0o700
	}
	return 0o600
}

func writtenByTrusted(f *os.File) error {
	info, st, err := owned(f)
	switch uid, me := int(st.Uid), os.Geteuid(); {
	case err != nil:
		return err
	case info.Mode().Perm()&0o002 != 0:
		return fmt.Errorf("may be written by everybody (mode %04o; chmod o-w)", info.Mode().Perm())
	case uid != me && uid != 0 && me != 0:
		return fmt.Errorf("belongs to user %d, neither to you (%d) nor to root", uid, me)
	}
	return nil
}

func owned(f *os.File) (fs.FileInfo, syscall.Stat_t, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, syscall.Stat_t{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, syscall.Stat_t{}, errors.New("has no owner that can be checked")
	}
	return info, *st, nil
}

func closeDir(dir string, d *os.File) error {
	info, st, err := owned(d)
	switch {
	case err != nil:
		return err
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("belongs to user %d, not to you (%d); a state directory is not shared", st.Uid, os.Geteuid())
	case info.Mode().Perm()&0o077 == 0:
		return nil
	}
	if err := d.Chmod(0o700); err != nil {
		return fmt.Errorf("cannot be closed to others: %w", err)
	}
	return nil
}

// SyncDir makes durable which names a directory holds.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func rename(from, to string) error { return os.Rename(from, to) }

func openLock(dir string) (*os.File, error) { return os.Open(dir) }

// lock waits for the exclusive lock on f, which lasts until f is closed.
func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX) }
