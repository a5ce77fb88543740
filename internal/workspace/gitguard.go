package workspace

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/workspace/risk"
)

// gitName is the git directory at the top of a workspace: never part of a
// change.
const gitName = ".git"

// isGitName reports whether some file system or git takes name for a git
// directory.
func isGitName(name string) bool { return risk.MeansGit(name) }

// gitDir says when the agent put something else in the place of the git
// directory. What it did inside stays at the desk.
func (w *walk) gitDir(v view, after side, marks overlayMarks) error {
	before, err := lookBefore(v.before, gitName)
	if err != nil {
		return fmt.Errorf("looking at %s: %w", gitName, err)
	}
	if marks.whiteout {
		after = side{}
	}
	replaced := marks.opaque || marks.redirect != ""
	if known, ok := w.index[gitName]; ok {
		replaced = after.there() && bornAfter(after, known.Copy)
	}
	it := &item{rel: gitName, after: after, before: before, change: alteration(after, before)}
	switch {
	case !after.there() && !before.there():
		return nil
	case it.change == carrel.Modified && !replaced:
		return nil
	case it.change == carrel.Created:
		it.withheld = &withheld{"git-directory", "the agent made a repository here; git directories are never applied"}
	default:
		it.withheld = &withheld{"git-directory", "the agent removed or replaced the git directory at its desk; yours is as it was"}
	}
	return w.put(it)
}

// bornAfter reports whether an entry was made after the one that v describes;
// inode numbers alone are used again at once.
func bornAfter(s side, v version) bool {
	var st unix.Statx_t
	err := unix.Statx(s.dir.fd, s.name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &st)
	if err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return s.st.Ino != v.Ino
	}
	return st.Btime.Sec*1e9+int64(st.Btime.Nsec) > v.Ctime
}

// nested reports a git directory further down, or one in disguise, as one
// path: its hooks and configuration would run on the host.
func (w *walk) nested(v view, after side, marks overlayMarks, rel string, depth int) error {
	before, err := lookBefore(v.before, after.name)
	if err != nil {
		return fmt.Errorf("looking at %s in the tree: %w", rel, err)
	}
	if before.isDir() && after.isDir() && !marks.opaque {
		if touched, err := w.touched(v, after, before, marks, rel, depth); err != nil || !touched {
			return err
		}
	}
	if known, ok := w.index[rel]; ok && !after.isDir() && known.Copy == versionOf(&after.st) {
		return nil
	}
	reason := "it is the git directory of a repository inside the workspace; its hooks and configuration run programs"
	if !strings.EqualFold(path.Base(rel), gitName) {
		reason = "some systems take this name for a git directory"
	}
	return w.put(&item{rel: rel, after: after, before: before, change: alteration(after, before), withheld: &withheld{"nested-repository", reason}})
}

// touched reports whether anything differs inside a directory.
func (w *walk) touched(v view, after, before side, marks overlayMarks, rel string, depth int) (bool, error) {
	probe := *w
	found := false
	probe.emit = func(it *item) error {
		found = true
		it.after.dir.drop()
		it.before.dir.drop()
		return nil
	}
	probe.count = 0
	inner, err := probe.descend(v, after, before, marks, rel)
	if isMoved(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("entering %s: %w", rel, err)
	}
	defer inner.drop()
	err = probe.dir(inner, rel, depth+1)
	return found, err
}
