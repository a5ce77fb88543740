package native

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// inside returns the processes of a desk, PID 1 first, by following children:
// whoever loses its parent inside becomes PID 1's.
func inside(pid1 int) []int {
	pids := []int{pid1}
	for i := 0; i < len(pids); i++ {
		pids = append(pids, children(pids[i])...)
	}
	return pids
}

func children(pid int) (out []int) {
	files, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		for _, s := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(s); err == nil {
				out = append(out, child)
			}
		}
	}
	return out
}

// canWatchMemory says why memory cannot be watched on this kernel, if so.
func canWatchMemory(pid int) error {
	self := strconv.Itoa(pid)
	if _, err := os.ReadFile("/proc/" + self + "/task/" + self + "/children"); err != nil {
		return fmt.Errorf("no cgroup may be written, and /proc does not say which processes belong to the desk: %w", err)
	}
	return nil
}

// memoryInside adds up what the desk's processes hold that is not a file's,
// what lies in its file systems in memory, which are at dirs, and shared memory
// of System V. What is both mapped and a file in memory counts once.
func memoryInside(pid1 int, dirs []string, systemV int64) (int64, error) {
	pids := inside(pid1)
	var sum int64
	for _, pid := range pids {
		sum += ownPages(pid)
	}
	if sum == 0 {
		return 0, errors.New("the desk is gone")
	}
	mapped, anonymous := sharedInside(pids)
	return sum + max(mapped, filesInMemory(pid1, dirs)+anonymous+systemV), nil
}

// filesInMemory adds up what the desk's file systems in memory hold.
func filesInMemory(pid1 int, dirs []string) (sum int64) {
	for _, dir := range dirs {
		var st unix.Statfs_t
		if unix.Statfs(fmt.Sprintf("/proc/%d/root/%s", pid1, dir), &st) == nil && st.Type == unix.TMPFS_MAGIC {
			sum += int64(st.Blocks-st.Bfree) * st.Bsize
		}
	}
	return sum
}

// placesInMemory are the places of a desk's file systems in memory.
func placesInMemory(mounts []sandbox.Mount) []string {
	dirs := []string{"/tmp", "/dev/shm"}
	for i := range mounts {
		if m := &mounts[i]; m.Kind == sandbox.MountTmpfs && m.Target != "/tmp" {
			dirs = append(dirs, m.Target)
		}
	}
	return dirs
}

// ownPages reads a process's own pages. One that has ended holds none.
func ownPages(pid int) int64 {
	_, status := memoryOf(pid)
	return kibibytes(status, "RssAnon:")
}

// diskGuard watches what a run writes to the host's disks.
type diskGuard struct {
	paths []string
	// kernels are directories inside paths that only the kernel writes: an
	// overlay's own, which nobody may read.
	kernels map[string]bool
	limit   int64 // bytes the run may add; 0: no limit
	base    int64
	floor   map[string]space
	// inMemory is what the run wrote to file systems in memory, such as /tmp,
	// which counts as if a disk held it.
	inMemory func() int64
	// nameless is what the run holds open of files that it has removed.
	nameless func() int64
}

// space is what must stay free on one file system.
type space struct{ bytes, inodes uint64 }

const (
	// keepFree of every file system that a run writes to is not the run's.
	keepFree = 1 << 30
	// keepInodes likewise.
	keepInodes = 10_000
	// perFile is what a file costs besides its content.
	perFile = 1 << 10
)

// newDiskGuard measures where the run begins. nil means that there is nothing
// to watch.
func newDiskGuard(paths []string, kernels map[string]bool, limit int64) (*diskGuard, error) {
	if len(paths) == 0 {
		if limit > 0 {
			return nil, errors.New("nothing says where the run writes")
		}
		return nil, nil
	}
	g := &diskGuard{paths: paths, kernels: kernels, limit: limit, floor: map[string]space{}}
	for _, p := range paths {
		var st unix.Statfs_t
		if err := unix.Statfs(p, &st); err != nil {
			return nil, &os.PathError{Op: "measuring the disk of", Path: p, Err: err}
		}
		// On a disk that is almost full already a run may use half the rest.
		g.floor[p] = space{min(keepFree, free(&st)/2), min(keepInodes, st.Ffree/2)}
	}
	if limit > 0 {
		var err error
		if g.base, err = g.used(); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func free(st *unix.Statfs_t) uint64 { return st.Bavail * uint64(st.Bsize) }

// exceeded reports whether the run must end.
func (g *diskGuard) exceeded() bool {
	for p, keep := range g.floor {
		var st unix.Statfs_t
		if unix.Statfs(p, &st) != nil {
			continue // removed meanwhile: nothing is written there
		}
		if free(&st) < keep.bytes || st.Files > 0 && st.Ffree < keep.inodes {
			return true
		}
	}
	if g.limit == 0 {
		return false
	}
	used, err := g.used()
	for _, more := range []func() int64{g.inMemory, g.nameless} {
		if more != nil {
			used += more()
		}
	}
	return err != nil || used-g.base > g.limit
}

// used adds up the files below the run's directories, as the disk holds them.
// A directory that cannot be read is an error: what an agent closes to its
// measurer cannot be held to a limit.
func (g *diskGuard) used() (sum int64, err error) {
	for _, p := range g.paths {
		werr := filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			switch {
			case g.kernels[path]:
				return fs.SkipDir
			case errors.Is(err, fs.ErrPermission):
				return fmt.Errorf("measuring the disk: %w", err)
			case err != nil:
				return nil //nolint:nilerr // a directory that went away
			}
			if info, err := d.Info(); err == nil {
				if st, ok := info.Sys().(*syscall.Stat_t); ok {
					sum += st.Blocks*512 + perFile
				}
			}
			return nil
		})
		err = errors.Join(err, werr)
	}
	return sum, err
}

// kernelDirs are the directories of a desk's overlays that the kernel keeps.
func kernelDirs(mounts []sandbox.Mount) map[string]bool {
	out := map[string]bool{}
	for i := range mounts {
		if work := mounts[i].Work; work != "" {
			out[filepath.Join(work, "work")], out[filepath.Join(work, "index")] = true, true
		}
	}
	return out
}
