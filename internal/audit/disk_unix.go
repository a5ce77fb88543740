//go:build unix

package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// checkOwner refuses a file that another user owns, can reach, or knows by a
// second name.
func checkOwner(_ *os.File, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return errors.New("its owner cannot be told")
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("it belongs to user %d and not to you", st.Uid)
	case st.Nlink > 1:
		return errors.New("it has a second name (hard link)")
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("its mode is %04o and others can reach it; chmod it to 0600", info.Mode().Perm())
	}
	return nil
}

func checkDirOwner(_ string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return errors.New("its owner cannot be told")
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("it belongs to user %d and not to you", st.Uid)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("its mode is %04o and others can write to it; chmod it to 0700", info.Mode().Perm())
	}
	return nil
}

func (realDisk) syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
