package workspace

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/git"
	"golang.org/x/sys/unix"
)

// isAlready reports whether the tree has what the change wants.
func (p *applyPlan) isAlready(f *carrel.FileChange, now *unix.Stat_t) (bool, error) {
	if kindOf(now) != f.Kind || f.Kind == carrel.FileSpecial {
		return false, nil
	}
	if f.Kind == carrel.FileNone {
		return true, nil
	}
	if f.Kind == carrel.FileDir && f.Before.Kind == carrel.FileNone {
		return true, nil // both made it; what is inside is checked by itself
	}
	if f.Kind != carrel.FileLink && now.Mode&0o777 != f.Mode&0o777 {
		return false, nil
	}
	if f.Kind == carrel.FileDir {
		return true, nil
	}
	if now.Size != f.Size {
		return false, nil
	}
	sum, _, err := p.sum(string(f.Path), now, "")
	return sum.Equal(f.Digest), err
}

// butForMode reports whether the tree has what the change wants, with another
// mode: a file that the user took from the change, perhaps.
func (p *applyPlan) butForMode(f *carrel.FileChange, now *unix.Stat_t) bool {
	if f.Kind != carrel.FileRegular || kindOf(now) != carrel.FileRegular || now.Size != f.Size {
		return false
	}
	sum, _, err := p.sum(string(f.Path), now, "")
	return err == nil && sum.Equal(f.Digest)
}

// moved says why the tree is not what the change was made from; "" if it is.
// Then sum is the digest of what is there, to recognise it when displaced.
func (p *applyPlan) moved(f *carrel.FileChange, now *unix.Stat_t) (why string, sum carrel.Digest, err error) {
	entry := p.base[string(f.Path)]
	kind := kindOf(now)
	switch {
	case f.Before.Kind == carrel.FileNone && kind != carrel.FileNone:
		return "the agent made it, and by now there is one in your tree", "", nil
	case f.Before.Kind == carrel.FileNone:
		// Free. But had the base a file here, and was this directory touched
		// since, then the user took it away.
		if isBlob(entry) && p.dirTouched(f) {
			return "you deleted it since the agent began", "", nil
		}
		return "", "", nil
	case kind == carrel.FileNone:
		return "you deleted it since the agent began", "", nil
	case kind != f.Before.Kind:
		return fmt.Sprintf("it was a %s when the agent began and is a %s now", f.Before.Kind, kind), "", nil
	case kind == carrel.FileDir:
		if f.Kind == carrel.FileDir && now.Mode&0o777 != f.Before.Mode&0o777 {
			return "you changed its mode since the agent began", "", nil
		}
		return "", "", nil // its ctime moves with every file; emptiness is checked by removing it
	case p.later(f, now):
		return p.laterMoved(f, now, entry)
	case f.Before.Digest == "":
		return "what it was when the agent began is not known", "", nil
	case now.Size != f.Before.Size || kind == carrel.FileRegular && now.Mode&0o777 != f.Before.Mode&0o777:
		return "it is not what the change was made from", "", nil
	}
	return "", f.Before.Digest, nil // content is compared when it has been displaced
}

// laterMoved judges a file that was touched after the agent began: checked out
// again, perhaps. If it is exactly what the base commit has, nothing of the
// user's would be lost; anything else is the user's.
func (p *applyPlan) laterMoved(f *carrel.FileChange, now *unix.Stat_t, entry git.Entry) (why string, sum carrel.Digest, err error) {
	const changed = "you changed it since the agent began"
	if !isBlob(entry) {
		return changed, "", nil
	}
	sum, object, err := p.sum(string(f.Path), now, entry.Object)
	if err != nil {
		return "", "", err
	}
	known := f.Before.Digest == "" || sum.Equal(f.Before.Digest)
	if !known || object != entry.Object || gitMode(now) != entry.Mode {
		return changed, "", nil
	}
	return "", sum, nil
}

func isBlob(e git.Entry) bool {
	return e.Mode == git.ModeFile || e.Mode == git.ModeExecutable || e.Mode == git.ModeLink
}

func gitMode(st *unix.Stat_t) string {
	switch {
	case kindOf(st) == carrel.FileLink:
		return git.ModeLink
	case st.Mode&0o100 != 0:
		return git.ModeExecutable
	}
	return git.ModeFile
}

// later reports whether st was altered after the agent's work on f began.
func (p *applyPlan) later(f *carrel.FileChange, st *unix.Stat_t) bool {
	stamp := p.opts.Change.Base.Stamp
	if !f.Stamp.IsZero() {
		stamp = f.Stamp
	}
	return ctime(st).After(stamp)
}

// dirTouched reports whether the directory of f, or the nearest one above it
// that is there, was altered after the agent's work on f began.
func (p *applyPlan) dirTouched(f *carrel.FileChange) bool {
	for dir := path.Dir(string(f.Path)); ; dir = path.Dir(dir) {
		if dir == "." {
			return p.later(f, &p.tree.st)
		}
		st, err := p.tree.lstat(dir)
		if err != nil || st.Nlink > 0 {
			return err != nil || p.later(f, &st)
		}
	}
}

// sum digests a file, or a link's target; if object is given, as git names
// objects, too.
func (p *applyPlan) sum(rel string, st *unix.Stat_t, object string) (carrel.Digest, string, error) {
	dir, name, err := p.tree.parent(rel)
	if err != nil {
		return "", "", err
	}
	return sumAt(dir, name, st, object)
}

func sumAt(dir int, name string, st *unix.Stat_t, object string) (carrel.Digest, string, error) {
	var content io.Reader
	if kindOf(st) == carrel.FileLink {
		target, err := readlinkAt(dir, name)
		if err != nil {
			return "", "", err
		}
		content = strings.NewReader(target)
	} else {
		f, err := openPlain(dir, name, st)
		if err != nil {
			return "", "", err
		}
		defer f.Close()
		content = f
	}
	return git.Sum(content, st.Size, object)
}

// openPlain opens the regular file that st describes, as it is: unlike layers,
// the user's own files are not made readable for a moment.
func openPlain(dir int, name string, st *unix.Stat_t) (*os.File, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil || now.Ino != st.Ino || now.Mode&unix.S_IFMT != unix.S_IFREG {
		f.Close()
		return nil, errors.Join(errMoved, err)
	}
	return f, nil
}
