package workspace

import (
	"path"

	"github.com/carrel-dev/carrel"
	"golang.org/x/sys/unix"
)

// undo takes one step back, if it was made. It looks at what is there instead
// of remembering: it can be repeated after a crash at any point. It returns
// whether something was left as it is because somebody altered it since.
func (j *applyJournal) undo(t *applyTree, s *applyStep) (left bool, err error) {
	if s.Kind == stepRmdir {
		return false, j.undoRmdir(t, s)
	}
	if s.Kind == stepMode {
		return j.undoMode(t, s)
	}
	var inWork unix.Stat_t
	err = statAt(j.in(s), s.Work, &inWork)
	switch {
	case err != nil && err != unix.ENOENT:
		return false, err
	case s.Kind == stepPut && err == unix.ENOENT:
		return j.undoPut(t, s)
	case s.Kind == stepTake && err == nil:
		return j.putBack(t, s)
	case s.Kind == stepSwap && err == nil:
		return j.undoSwap(t, s, &inWork)
	case s.Kind == stepPut:
		return j.returnAltered(t, s)
	}
	return false, nil // it was not made
}

// putBack returns a displaced file to its name, if that is free.
func (j *applyJournal) putBack(t *applyTree, s *applyStep) (left bool, err error) {
	dir, name, err := t.parent(string(s.Path))
	if err == nil {
		err = unix.Renameat2(j.in(s), s.Work, dir, name, unix.RENAME_NOREPLACE)
	}
	if _, known := lookupProblem(err); known || err == unix.EEXIST {
		return true, nil
	}
	return false, err
}

// undoSwap exchanges back, and leaves what is not what was put there. Inode
// numbers alone do not tell which of the two is where: on an overlay the file of
// a lower layer may have the number of one above.
func (j *applyJournal) undoSwap(t *applyTree, s *applyStep, inWork *unix.Stat_t) (left bool, err error) {
	if s.isStaged(j.in(s), s.Work) {
		return false, nil // it was not made
	}
	dir, name, err := t.parent(string(s.Path))
	if err == nil && !s.isStaged(dir, name) {
		if inWork.Ino != s.Staged || sumIs(j.in(s), s.Work, inWork, s.Old.Sum) {
			return true, nil
		}
		return j.returnAltered(t, s)
	}
	if err == nil {
		err = unix.Renameat2(j.in(s), s.Work, dir, name, unix.RENAME_EXCHANGE)
	}
	if _, known := lookupProblem(err); known {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return j.returnAltered(t, s)
}

// returnAltered looks at what was staged for s and is in the work directory,
// because the step was not made or a moment ago, perhaps before a crash, taken
// back: what somebody altered in the tree goes back there, or, where that
// cannot be, stays in the work directory, which is then kept.
func (j *applyJournal) returnAltered(t *applyTree, s *applyStep) (left bool, err error) {
	if s.isStaged(j.in(s), s.Work) {
		return false, nil
	}
	how := uint(unix.RENAME_NOREPLACE)
	if s.Kind == stepSwap {
		how = unix.RENAME_EXCHANGE
	}
	dir, name, err := t.parent(string(s.Path))
	if err == nil {
		err = unix.Renameat2(j.in(s), s.Work, dir, name, how)
	}
	if _, known := lookupProblem(err); known || err == unix.EEXIST {
		return true, nil
	}
	return true, err
}

// undoPut takes away what was put, unless it was altered since.
func (j *applyJournal) undoPut(t *applyTree, s *applyStep) (left bool, err error) {
	st, err := t.lstat(string(s.Path))
	if _, known := lookupProblem(err); known || err == nil && st.Ino != s.Staged {
		return st.Nlink > 0, nil
	}
	if err != nil {
		return false, err
	}
	dir, name, err := t.parent(string(s.Path))
	if err == nil && kindOf(&st) == carrel.FileDir && st.Mode&0o700 != 0o700 {
		err = t.chmod(string(s.Path), st.Mode&0o777|0o700) // else it cannot be moved
	}
	if err != nil {
		return false, err
	}
	defer t.forget()
	if err := unix.Renameat2(dir, name, j.in(s), s.Work, unix.RENAME_NOREPLACE); err != nil {
		return false, err
	}
	return j.returnAltered(t, s)
}

// isStaged reports whether name in dir is what was staged for s, unaltered, and
// nothing more.
func (s *applyStep) isStaged(dir int, name string) bool {
	var st unix.Stat_t
	if statAt(dir, name, &st) != nil || st.Ino != s.Staged {
		return false
	}
	if kindOf(&st) == carrel.FileDir {
		return s.insideStaged(dir, name)
	}
	return sumIs(dir, name, &st, s.Digest)
}

func (s *applyStep) insideStaged(dir int, name string) bool {
	known := make(map[string]insideEntry, len(s.Inside))
	for _, e := range s.Inside {
		known[string(e.Path)] = e
	}
	fd, err := openBeneath(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return onlyKnown(fd, "", known)
}

// onlyKnown reports whether a directory holds nothing but known entries.
func onlyKnown(dir int, rel string, known map[string]insideEntry) bool {
	names, err := readNames(dir, len(known))
	if err != nil {
		return false
	}
	for _, name := range names {
		var st unix.Stat_t
		at := path.Join(rel, name)
		e, ok := known[at]
		if !ok || statAt(dir, name, &st) != nil || st.Ino != e.Ino {
			return false
		}
		if kindOf(&st) != carrel.FileDir {
			if !sumIs(dir, name, &st, e.Digest) {
				return false
			}
			continue
		}
		fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return false
		}
		ok = onlyKnown(fd, at, known)
		unix.Close(fd)
		if !ok {
			return false
		}
	}
	return true
}

func sumIs(dir int, name string, st *unix.Stat_t, want carrel.Digest) bool {
	if k := kindOf(st); k != carrel.FileRegular && k != carrel.FileLink {
		return false
	}
	sum, _, err := sumAt(dir, name, st, "")
	return err == nil && sum.Equal(want)
}

func (j *applyJournal) undoRmdir(t *applyTree, s *applyStep) error {
	dir, name, err := t.parent(string(s.Path))
	if err != nil {
		return err
	}
	err = unix.Mkdirat(dir, name, 0o700)
	defer t.forget() // the directory of that name is another one now
	if err == unix.EEXIST {
		return nil
	}
	var st unix.Stat_t
	if err == nil {
		err = statAt(dir, name, &st)
	}
	if err == nil {
		err = chownAt(dir, name, &st, int(s.Old.UID), int(s.Old.GID))
	}
	if err != nil {
		return err
	}
	return t.chmod(string(s.Path), s.Old.Mode&0o7777)
}

func (j *applyJournal) undoMode(t *applyTree, s *applyStep) (left bool, err error) {
	st, err := t.lstat(string(s.Path))
	if err != nil || st.Nlink == 0 || st.Mode&0o777 != s.Mode || st.Mode == s.Old.Mode {
		return false, err
	}
	return false, t.chmod(string(s.Path), s.Old.Mode&0o7777)
}
