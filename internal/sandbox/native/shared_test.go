package native

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Memory behind an anonymous file is counted once, mapped or not, in however
// many processes and descriptors it is.
func TestAttackMemoryThatNoProcessCallsItsOwn(t *testing.T) {
	const size = 24 << 20
	self := []int{os.Getpid(), os.Getpid()}
	mapped0, files0 := sharedInside(self)

	fd, err := unix.MemfdCreate("held", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	twin, err := unix.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(twin)
	if _, err := unix.Write(fd, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if _, files := sharedInside(self); files-files0 < size || files-files0 > size+1<<20 {
		t.Errorf("%d bytes in an anonymous file were counted as %d", size, files-files0)
	}

	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(b) }()
	if mapped, _ := sharedInside(self[:1]); mapped-mapped0 > 1<<20 {
		t.Errorf("shared memory that was not touched was counted as %d", mapped-mapped0)
	}
	for i := 0; i < size; i += 4096 {
		b[i] = 1
	}
	if mapped, _ := sharedInside(self[:1]); mapped-mapped0 < size {
		t.Errorf("%d bytes of shared memory were counted as %d", size, mapped-mapped0)
	}
}
