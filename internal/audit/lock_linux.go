package audit

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// tryLock takes the lock of f's open file description, if it is free.
func tryLock(f *os.File) (bool, error) { return setLock(f, unix.F_WRLCK) }

func unlock(f *os.File) error {
	_, err := setLock(f, unix.F_UNLCK)
	return err
}

func setLock(f *os.File, kind int16) (bool, error) {
	for {
		switch err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Whence: io.SeekStart}); err {
		case nil:
			return true, nil
		case unix.EINTR:
		case unix.EAGAIN, unix.EACCES:
			return false, nil
		default:
			return false, os.NewSyscallError("fcntl", err)
		}
	}
}
