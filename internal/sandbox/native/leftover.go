package native

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockName is the file in a run's directory whose lock shows, as long as it
// is held, that the run's supervisor lives.
const lockName = "supervisor.lock"

// unclaimed is how old a run's directory without a lock must be to count as
// left over: its supervisor died between making it and starting the desk.
const unclaimed = time.Hour

// claim marks a run's directory as in use by this process. nil is nothing to
// release.
func claim(dir string) (*os.File, error) {
	if dir == "" {
		return nil, nil
	}
	f, err := claimAs(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("claiming the run's directory: %w", err)
	}
	return f, nil
}

// claimAs locks the file at path. A new one is locked before it has that name:
// whoever found it without a lock would take the directory for left over.
func claimAs(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.CreateTemp(filepath.Dir(path), "claim-*")
	}
	if err != nil {
		return nil, err
	}
	if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil && f.Name() != path {
		err = errors.Join(os.Link(f.Name(), path), os.Remove(f.Name()))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Reap removes what supervisors that were killed left behind: their runs'
// directories below runtimeParent, and their cgroups. It returns how many of
// either it removed. What is in use is left alone.
func Reap(runtimeParent string) (removed int, err error) {
	entries, err := os.ReadDir(runtimeParent)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, e := range entries {
		dir := filepath.Join(runtimeParent, e.Name())
		if !e.IsDir() || !abandoned(dir, e) {
			continue
		}
		if rerr := os.RemoveAll(dir); rerr != nil {
			err = errors.Join(err, rerr)
			continue
		}
		removed++
	}
	return removed + reapGroups(), err
}

func abandoned(dir string, e fs.DirEntry) bool {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		info, err := e.Info()
		return err == nil && time.Since(info.ModTime()) > unclaimed
	}
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// reapGroups removes the cgroups of supervisors that are gone. The kernel
// refuses to remove one that is in use.
func reapGroups() (removed int) {
	for _, p := range memoryPlaces("/proc/self/cgroup", "/proc/self/mountinfo") {
		groups, _ := filepath.Glob(filepath.Join(p.dir, groupPrefix+"*"))
		for _, g := range groups {
			owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(g), groupPrefix), "-")
			if pid, err := strconv.Atoi(owner); err != nil || unix.Kill(pid, 0) != unix.ESRCH {
				continue
			}
			if os.Remove(g) == nil {
				removed++
			}
		}
	}
	return removed
}
