package workspace

import (
	"context"
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/workspace/risk"
)

// view is one directory of the desk: what its layer holds (up), the directory
// of the real tree that shows through (through; nil behind an opaque one),
// and the directory it would change (before).
type view struct {
	up, through, before *dirRef
}

func (v view) drop() {
	v.up.drop()
	v.through.drop()
	v.before.drop()
}

// walk reads a layer and emits what may differ from the tree. emit takes over
// the item's references.
type walk struct {
	ctx    context.Context
	limits Limits
	index  copyIndex // nil unless the layer is a copy
	layer  *Layer
	holes  map[string]bool // other layers lie there
	lower  int
	emit   func(*item) error
	count  int
}

func (w *walk) put(it *item) error {
	w.count++
	if w.count > w.limits.Files {
		return fmt.Errorf("the change has more than %d paths; carrel discard throws it away, or let the agent put what it builds outside the workspace: %w", w.limits.Files, errTooMany)
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if at := risk.ObeyedBeside(it.rel); at != "" {
		it.besideHead = w.has(it, at)
	}
	it.after.dir.hold()
	it.before.dir.hold()
	return w.emit(it)
}

// has reports whether the layer or the tree has something at a path relative
// to the directory of an item.
func (w *walk) has(it *item, at string) bool {
	var st unix.Stat_t
	if dir := it.after.dir; dir != nil && statAt(dir.fd, at, &st) == nil && st.Mode&unix.S_IFMT != unix.S_IFCHR { // a whiteout
		return true
	}
	return statBeneath(w.lower, path.Join(path.Dir(w.layer.inside(it.rel)), at), &st) == nil
}

// dir compares one directory. Names of up come first; then what shows through
// at another place than it had (a renamed directory); then what is gone.
func (w *walk) dir(v view, rel string, depth int) error {
	seen := make(map[string]bool)
	if v.up != nil {
		names, err := readNames(v.up.fd, 2*w.limits.Files)
		if err != nil {
			return fmt.Errorf("reading %s of the layer: %w", rel, err)
		}
		for _, name := range names {
			seen[name] = true
			if err := w.entry(v, v.up, name, rel, depth); err != nil {
				return err
			}
		}
	}
	if v.through == v.before {
		return nil // what was not touched is no change
	}
	if v.through != nil {
		names, err := readNames(v.through.fd, 2*w.limits.Files)
		if err != nil {
			return fmt.Errorf("reading %s: %w", rel, err)
		}
		for _, name := range names {
			if !seen[name] {
				seen[name] = true
				if err := w.entry(v, v.through, name, rel, depth); err != nil {
					return err
				}
			}
		}
	}
	return w.missing(v, seen, rel, depth)
}

// missing emits deletions of what was before and is no longer seen.
func (w *walk) missing(v view, seen map[string]bool, rel string, depth int) error {
	if v.before == nil {
		return nil
	}
	names, err := readNames(v.before.fd, 2*w.limits.Files)
	if err != nil {
		return fmt.Errorf("reading %s: %w", rel, err)
	}
	for _, name := range names {
		if seen[name] || w.holes[path.Join(rel, name)] {
			continue
		}
		if rel == "." && name == gitName {
			err = w.gitDir(v, side{}, overlayMarks{})
		} else {
			err = w.gone(v.before, name, path.Join(rel, name), depth)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// entry compares one name that the desk has, in from: its layer, or a
// directory that shows through.
func (w *walk) entry(v view, from *dirRef, name, parent string, depth int) error {
	rel := path.Join(parent, name)
	if w.holes[rel] {
		return nil
	}
	after := side{dir: from, name: name}
	if err := statAt(from.fd, name, &after.st); errors.Is(err, unix.ENOENT) {
		return nil // gone between listing and looking, while the agent works
	} else if err != nil {
		return fmt.Errorf("looking at %s: %w", rel, err)
	}
	var marks overlayMarks
	if from == v.up && w.index == nil {
		var err error
		if marks, err = readMarks(from.fd, name, &after.st); isMoved(err) || errors.Is(err, unix.ENODATA) {
			return w.unsettled(v, after, rel)
		} else if err != nil {
			return fmt.Errorf("looking at %s: %w", rel, err)
		}
	}
	switch {
	case rel == gitName:
		return w.gitDir(v, after, marks)
	case marks.whiteout && v.before == nil:
		return nil
	case marks.whiteout:
		return w.gone(v.before, name, rel, depth)
	case isGitName(name):
		return w.nested(v, after, marks, rel, depth)
	case len(rel) > w.limits.PathBytes || depth >= w.limits.Depth:
		return w.tooDeep(v, after, rel)
	case after.isDir():
		return w.subdir(v, after, marks, rel, depth)
	}
	return w.leaf(v, after, marks, rel, depth)
}

// lookBefore finds what the real tree has under name.
func lookBefore(before *dirRef, name string) (side, error) {
	s := side{dir: before, name: name}
	if before == nil {
		return side{}, nil
	}
	err := statAt(before.fd, name, &s.st)
	if errors.Is(err, unix.ENOENT) {
		return side{}, nil
	}
	return s, err
}

// leaf emits what is no directory.
func (w *walk) leaf(v view, after side, marks overlayMarks, rel string, depth int) error {
	it := &item{rel: rel, after: after, foreign: marks.foreign}
	var err error
	if it.before, err = lookBefore(v.before, after.name); err != nil {
		return fmt.Errorf("looking at %s in the tree: %w", rel, err)
	}
	if known, ok := w.index[rel]; ok {
		if known.Copy == versionOf(&after.st) {
			return nil
		}
		it.was = &known
	}
	if marks.metacopy {
		if it.after, err = w.content(after, marks, w.layer.inside(path.Dir(rel))); err != nil {
			return fmt.Errorf("finding the content of %s: %w", rel, err)
		}
		defer it.after.dir.drop()
	}
	it.change = alteration(it.after, it.before)
	if err := w.put(it); err != nil || !it.before.isDir() {
		return err
	}
	return w.children(it.before, rel, depth)
}

// subdir compares a directory, then emits it if it says more than what is in
// it: its mode, its change of type, or its being there though empty.
func (w *walk) subdir(v view, after side, marks overlayMarks, rel string, depth int) error {
	before, err := lookBefore(v.before, after.name)
	if err != nil {
		return fmt.Errorf("looking at %s in the tree: %w", rel, err)
	}
	inner, err := w.descend(v, after, before, marks, rel)
	if isMoved(err) {
		return w.unsettled(v, after, rel)
	}
	if err != nil {
		return fmt.Errorf("entering %s: %w", rel, err)
	}
	defer inner.drop()
	n := w.count
	if err := w.dir(inner, rel, depth+1); err != nil {
		return err
	}
	it := &item{rel: rel, after: after, before: before, foreign: marks.foreign, change: alteration(after, before)}
	known, indexed := w.index[rel]
	switch {
	case it.change == carrel.TypeChanged:
	case indexed:
		it.was = &known
		if known.Mode&0o7777 == after.permissions() {
			return nil
		}
		it.change = carrel.ModeChanged
	case it.change == carrel.Created:
		if w.count > n && after.permissions() == 0o755 {
			return nil // its files imply it
		}
	case before.permissions() == after.permissions():
		return nil
	default:
		it.change = carrel.ModeChanged
	}
	return w.put(it)
}
