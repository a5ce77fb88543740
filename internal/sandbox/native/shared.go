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
	dir := "/proc/" + strconv.Itoa(pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return 0
	}
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
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	f, err := os.Open(dir)
	if err != nil {
		return 0
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	for _, name := range names {
		path := dir + "/" + name
		var st unix.Stat_t
		if to, err := os.Readlink(path); err != nil || !strings.HasPrefix(to, "/memfd:") || unix.Stat(path, &st) != nil {
			continue
		}
		if id := [2]uint64{st.Dev, st.Ino}; !seen[id] {
			seen[id] = true
			sum += st.Blocks * 512
		}
	}
	return sum
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
