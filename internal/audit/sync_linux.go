package audit

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData waits until what was written, and the size, are on the device.
func syncData(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
