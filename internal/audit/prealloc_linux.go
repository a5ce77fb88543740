package audit

import (
	"os"

	"golang.org/x/sys/unix"
)

// preallocate reserves blocks behind the end of f without making it longer:
// a write that need not find its blocks is durable sooner. It is a favour; a
// file system that cannot do it does without.
func preallocate(f *os.File, offset, length int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, offset, length)
}
