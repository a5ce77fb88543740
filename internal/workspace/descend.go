package workspace

import (
	"errors"
	"path"

	"golang.org/x/sys/unix"
)

// content finds the file that holds the data of one whose metadata alone was
// copied up. The metadata stays that of the layer.
func (w *walk) content(after side, marks overlayMarks, parent string) (side, error) {
	at := path.Join(parent, after.name)
	if marks.redirect != "" {
		at = marks.redirected(parent)
	}
	fd, err := openBeneath(w.lower, path.Dir(at), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return side{}, err
	}
	s := side{dir: newDirRef(fd, func() { unix.Close(fd) }), name: path.Base(at)}
	if err := statAt(fd, s.name, &s.st); err != nil {
		s.dir.drop()
		return side{}, err
	}
	s.st.Mode = s.st.Mode&unix.S_IFMT | after.st.Mode&0o7777
	return s, nil
}

// descend opens the three directories behind one name.
func (w *walk) descend(v view, after, before side, marks overlayMarks, rel string) (in view, err error) {
	opened, err := after.open(after.dir == v.up)
	if err != nil {
		return view{}, err
	}
	if before.isDir() {
		in.before, err = before.open(false)
		if err != nil && !errors.Is(err, unix.EACCES) { // else what is in it is not known, and cannot be overwritten
			opened.drop()
			return view{}, err
		}
	}
	if after.dir != v.up { // the directory shows through itself
		in.through = opened
		return in, nil
	}
	in.up = opened
	if in.through, err = w.below(v, in.before, after.name, marks, rel); err != nil {
		in.drop()
		return view{}, err
	}
	return in, nil
}

// below opens the directory that shows through the layer's one of that name;
// nil if none does.
func (w *walk) below(v view, before *dirRef, name string, marks overlayMarks, rel string) (*dirRef, error) {
	switch {
	case w.index != nil || marks.opaque:
		return nil, nil
	case marks.redirect != "":
		fd, err := openBeneath(w.lower, marks.redirected(w.layer.inside(path.Dir(rel))), unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return nil, err
		}
		return newDirRef(fd, func() { unix.Close(fd) }), nil
	case v.through == v.before:
		return before.hold(), nil
	}
	s, err := lookBefore(v.through, name)
	if err != nil || !s.isDir() {
		return nil, err
	}
	return s.open(false)
}
