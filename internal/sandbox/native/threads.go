package native

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A process is more than its first thread: that one can end before the others,
// after which /proc says nothing of memory or files at the process's own number,
// and every thread can have a table of descriptors of its own.

// threads returns the threads of a process, the first one first.
func threads(pid int) (out []int) {
	tasks, err := os.Open("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		return nil
	}
	defer tasks.Close()
	names, _ := tasks.Readdirnames(-1) // in the order in which they were started
	for _, name := range names {
		if tid, err := strconv.Atoi(name); err == nil {
			out = append(out, tid)
		}
	}
	return out
}

// memoryOf returns where /proc speaks of a process's memory, and its status
// there. One that has ended has none.
func memoryOf(pid int) (dir string, status []byte) {
	if dir, status = threadMemory(pid); dir != "" {
		return dir, status
	}
	for _, tid := range threads(pid) {
		if dir, status = threadMemory(tid); dir != "" {
			return dir, status
		}
	}
	return "", nil
}

func threadMemory(tid int) (dir string, status []byte) {
	dir = "/proc/" + strconv.Itoa(tid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil || !bytes.Contains(status, []byte("\nRssAnon:")) {
		return "", nil
	}
	return dir, status
}

// descriptors calls look with the path of every descriptor of a process, in
// whichever thread's table it is.
func descriptors(pid int, look func(path string)) {
	var first, last int
	for _, tid := range threads(pid) {
		if last != 0 && (sameTable(first, tid) || sameTable(last, tid)) {
			continue
		}
		if first == 0 {
			first = tid
		}
		last = tid
		tableOf(tid, look)
	}
}

func tableOf(tid int, look func(path string)) {
	dir := "/proc/" + strconv.Itoa(tid) + "/fd"
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	for _, name := range names {
		look(dir + "/" + name)
	}
}

// kcmpFiles asks whether two threads share a table of descriptors.
const kcmpFiles = 2

// sameTable reports whether two threads share their table. Where the kernel
// does not say, they do not: the same table is then only looked at again.
func sameTable(a, b int) bool {
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), kcmpFiles, 0, 0, 0)
	return errno == 0 && order == 0
}
