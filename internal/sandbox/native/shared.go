package native

import (
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Memory that several processes can hold at once is counted besides their own
// pages: what they have mapped of it, each its share, and anonymous files,
// which take memory mapped or not.

// sharedInside adds up such memory of the processes of a desk. Segments of
// System V, which nobody need have attached, are PID 1's to count; files on
// their way through a socket cannot be seen by anybody.
func sharedInside(pids []int) (mapped, files int64) {
	seen := map[[2]uint64]bool{}
	for _, pid := range pids {
		mapped += mappedShare(pid)
		files += anonymousFiles(pid, seen)
	}
	return mapped, files
}

// mappedShare is a process's part of the shared memory that it has mapped.
// Finding it out takes the kernel time, so it is asked only where there is any.
func mappedShare(pid int) int64 {
	dir, status := memoryOf(pid)
	all := kibibytes(status, "RssShmem:")
	if all == 0 {
		return 0
	}
	if rollup, err := os.ReadFile(dir + "/smaps_rollup"); err == nil && bytes.Contains(rollup, []byte("Pss_Shmem:")) {
		return kibibytes(rollup, "Pss_Shmem:")
	}
	return all
}

// anonymousFiles adds up the files in memory that a process has open and that
// are not in seen yet.
func anonymousFiles(pid int, seen map[[2]uint64]bool) (sum int64) {
	descriptors(pid, func(path string) {
		var st unix.Stat_t
		if to, err := os.Readlink(path); err != nil || !strings.HasPrefix(to, "/memfd:") || unix.Stat(path, &st) != nil {
			return
		}
		sum += once(&st, seen)
	})
	return sum
}

// namelessFiles adds up the files on disks that no directory names any more
// and that processes still have open: nobody who walks directories sees them.
func namelessFiles(pids []int) (sum int64) {
	seen := map[[2]uint64]bool{}
	for _, pid := range pids {
		descriptors(pid, func(path string) {
			// The link is looked at first, so that nothing is asked of the file
			// systems of others. One too long to be read is asked.
			if to, err := os.Readlink(path); err == nil && !strings.HasSuffix(to, " (deleted)") {
				return
			}
			var st unix.Stat_t
			var on unix.Statfs_t
			if unix.Stat(path, &st) != nil || st.Nlink != 0 || st.Mode&unix.S_IFMT != unix.S_IFREG {
				return
			}
			if unix.Statfs(path, &on) == nil && on.Type != unix.TMPFS_MAGIC { // what is in memory is counted there
				sum += once(&st, seen)
			}
		})
	}
	return sum
}

// once is what a file takes, and 0 if it is in seen already.
func once(st *unix.Stat_t, seen map[[2]uint64]bool) int64 {
	id := [2]uint64{st.Dev, st.Ino}
	if seen[id] {
		return 0
	}
	seen[id] = true
	return st.Blocks * 512
}

// kibibytes reads the value of a line "Name:  12 kB", in bytes.
func kibibytes(b []byte, name string) int64 {
	_, rest, ok := bytes.Cut(b, []byte("\n"+name))
	if !ok {
		return 0
	}
	line, _, _ := bytes.Cut(rest, []byte("kB"))
	kib, _ := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	return kib << 10
}
