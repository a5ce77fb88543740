package workspace

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
)

// gone emits the deletion of name in the real tree, and of all that is in it.
func (w *walk) gone(dir *dirRef, name, rel string, depth int) error {
	before, err := lookBefore(dir, name)
	if err != nil || !before.there() {
		return err
	}
	it := &item{rel: rel, before: before, change: carrel.Deleted}
	if w.index != nil {
		known, ok := w.index[rel]
		if !ok {
			return nil // the user made it meanwhile
		}
		it.was = &known
	}
	if isGitName(name) {
		it.withheld = &withheld{"nested-repository", "it is a repository's git directory"}
		return w.put(it)
	}
	if before.isDir() {
		if err := w.children(before, rel, depth); err != nil {
			return err
		}
	}
	return w.put(it)
}

// children emits the deletion of all that a directory of the tree holds.
func (w *walk) children(before side, rel string, depth int) error {
	if depth >= w.limits.Depth {
		return nil // the directory's own deletion then fails as not empty, and says so
	}
	fd, done, err := openTheirDir(before.dir.fd, before.name)
	if errors.Is(err, unix.EACCES) {
		return nil // neither the user nor the agent can see what is in it
	}
	if isMoved(err) {
		return nil // the user moved it away: applying says so
	}
	if err != nil {
		return fmt.Errorf("entering %s: %w", rel, err)
	}
	dir := newDirRef(fd, done)
	defer dir.drop()
	names, err := readNames(fd, w.limits.Files)
	if err != nil {
		return fmt.Errorf("reading %s: %w", rel, err)
	}
	for _, name := range names {
		if err := w.gone(dir, name, path.Join(rel, name), depth+1); err != nil {
			return err
		}
	}
	return nil
}
