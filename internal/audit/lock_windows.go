package audit

import (
	"os"

	"golang.org/x/sys/windows"
)

// lockedByte is one that no file has: a lock here keeps others from reading
// what is locked, too.
const lockedByte = 1 << 30 // times 4 GiB

func tryLock(f *os.File) (bool, error) {
	const how = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	switch err := windows.LockFileEx(windows.Handle(f.Fd()), how, 0, 1, 0, &windows.Overlapped{OffsetHigh: lockedByte}); err {
	case nil:
		return true, nil
	case windows.ERROR_LOCK_VIOLATION:
		return false, nil
	default:
		return false, os.NewSyscallError("LockFileEx", err)
	}
}

func unlock(f *os.File) error {
	err := windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, &windows.Overlapped{OffsetHigh: lockedByte})
	return os.NewSyscallError("UnlockFileEx", err)
}
