package workspace

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// applyTree is the real tree, reached through one descriptor, and one of each
// mount inside it. Every path is looked up beneath its own without following
// links or entering another mount. It is for one goroutine; see fork.
type applyTree struct {
	root   int
	st     unix.Stat_t
	mounts *treeMounts
	dir    string // of the last lookup
	fd     int    // of dir; -1 when none is open
}

// applyFlags are stricter than what reads the tree: a mount is entered on
// purpose or not at all.
const applyFlags = beneathFlags | unix.RESOLVE_NO_XDEV

func openApplyTree(workspace string) (*applyTree, error) {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, workspace, &how)
	if err != nil {
		return nil, fmt.Errorf("opening workspace %s: %w", workspace, err)
	}
	t := &applyTree{root: fd, mounts: &treeMounts{root: fd, open: map[string]int{}}, fd: -1}
	err = unix.Fstat(fd, &t.st)
	if err == nil {
		t.mounts.at, err = mountsBelow(workspace)
	}
	if err != nil {
		t.Close()
		return nil, fmt.Errorf("opening workspace %s: %w", workspace, err)
	}
	for i, at := range t.mounts.at {
		t.mounts.at[i] = strings.TrimPrefix(at, workspace+"/")
	}
	return t, nil
}

// Close releases the descriptors.
func (t *applyTree) Close() {
	t.forget()
	t.mounts.close()
	unix.Close(t.root)
}

// fork returns the same tree for another goroutine, to be ended with forget.
func (t *applyTree) fork() *applyTree {
	return &applyTree{root: t.root, st: t.st, mounts: t.mounts, fd: -1}
}

func (t *applyTree) forget() {
	if t.fd >= 0 {
		unix.Close(t.fd)
	}
	t.fd, t.dir = -1, ""
}

// parent opens the directory that holds rel and returns it with rel's last
// name. The descriptor is the tree's and good until the next call.
func (t *applyTree) parent(rel string) (int, string, error) {
	dir, name := path.Split(rel)
	dir = strings.TrimSuffix(dir, "/")
	if t.fd >= 0 && t.dir == dir {
		return t.fd, name, nil
	}
	at, root, err := t.mounts.above(dir)
	if err != nil || dir == at {
		return root, name, err
	}
	t.forget()
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: applyFlags}
	for {
		fd, err := unix.Openat2(root, strings.TrimPrefix(dir, at+"/"), &how)
		if err == unix.EAGAIN || err == unix.EINTR { // the tree moved under the lookup: again
			continue
		}
		if err != nil {
			return -1, "", err
		}
		t.dir, t.fd = dir, fd
		return fd, name, nil
	}
}

// lstat describes rel; st.Nlink is 0 when there is nothing.
func (t *applyTree) lstat(rel string) (st unix.Stat_t, err error) {
	dir, name, err := t.parent(rel)
	if err == nil {
		err = statAt(dir, name, &st)
	}
	if err == unix.ENOENT {
		return unix.Stat_t{}, nil
	}
	return st, err
}

// checkPath refuses what is no plain path inside a workspace. A change never
// names such a path; one that does was not made by Carrel.
func checkPath(p string) error {
	if p == "" || len(p) >= unix.PathMax || path.IsAbs(p) || path.Clean(p) != p || strings.ContainsRune(p, 0) {
		return fmt.Errorf("%q is not a path inside the workspace", p[:min(len(p), 200)])
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." || part == "." || isGitName(part) {
			return fmt.Errorf("%q is not a path that a change may hold", p)
		}
	}
	return nil
}

// lookupProblem says why a path cannot be reached, in words for a conflict.
func lookupProblem(err error) (string, bool) {
	switch {
	case errors.Is(err, unix.ELOOP):
		return "a directory above it is now a symbolic link", true
	case errors.Is(err, unix.EXDEV):
		return "it lies on another file system mounted into the workspace", true
	case errors.Is(err, unix.ENOENT):
		return "the directory it belongs in is gone", true
	case errors.Is(err, unix.ENOTDIR):
		return "something above it is no longer a directory", true
	case errors.Is(err, unix.EACCES):
		return "the directory it belongs in cannot be written", true
	case errors.Is(err, unix.EROFS):
		return "its file system is read-only", true
	case errors.Is(err, unix.ENAMETOOLONG):
		return "its name is longer than the file system takes", true
	}
	return "", false
}
