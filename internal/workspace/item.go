package workspace

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
)

// dirRef is an open directory that several items wait to be read from.
type dirRef struct {
	fd   int
	refs atomic.Int32
	done func() // closes, and gives back the mode it had
}

func newDirRef(fd int, done func()) *dirRef {
	d := &dirRef{fd: fd, done: done}
	d.refs.Store(1)
	return d
}

func (d *dirRef) hold() *dirRef {
	if d != nil {
		d.refs.Add(1)
	}
	return d
}

func (d *dirRef) drop() {
	if d != nil && d.refs.Add(-1) == 0 {
		d.done()
	}
}

// side is one side of an item: an entry of an open directory, or nothing.
type side struct {
	dir  *dirRef
	name string
	st   unix.Stat_t
}

func (s side) there() bool         { return s.dir != nil }
func (s side) format() uint32      { return s.st.Mode & unix.S_IFMT }
func (s side) isDir() bool         { return s.there() && s.format() == unix.S_IFDIR }
func (s side) permissions() uint32 { return s.st.Mode & 0o7777 }

// open opens a directory: of the layer, which is made readable, or of the
// user's tree, which is left as it is.
func (s side) open(ours bool) (*dirRef, error) {
	var fd int
	var done func()
	var err error
	if ours {
		fd, done, err = openOurDir(s.dir.fd, s.name, &s.st)
	} else {
		fd, done, err = openTheirDir(s.dir.fd, s.name)
	}
	if err != nil {
		return nil, err
	}
	return newDirRef(fd, done), nil
}

func (s side) kind() carrel.FileKind {
	if !s.there() {
		return carrel.FileNone
	}
	return kindOfMode(s.st.Mode)
}

func kindOfMode(mode uint32) carrel.FileKind {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return carrel.FileRegular
	case unix.S_IFLNK:
		return carrel.FileLink
	case unix.S_IFDIR:
		return carrel.FileDir
	}
	return carrel.FileSpecial
}

// item is one path that may be part of a change.
type item struct {
	rel      string
	change   carrel.Alteration
	after    side
	before   side
	was      *copied   // what a copy was made from
	foreign  []string  // extended attributes that are not overlayfs's
	withheld *withheld // why it is kept back, if the walk already knows
	// besideHead says that a HEAD lies where it makes git believe this file.
	besideHead bool
}

func alteration(after, before side) carrel.Alteration {
	switch {
	case !after.there():
		return carrel.Deleted
	case !before.there():
		return carrel.Created
	case after.format() != before.format():
		return carrel.TypeChanged
	}
	return carrel.Modified
}
