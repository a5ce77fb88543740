package workspace

import (
	"context"
	"errors"
	"fmt"

	"github.com/carrel-dev/carrel"
	"golang.org/x/sys/unix"
)

// swap makes the steps. Each is one rename, so that every path is at every
// moment the old file or the new one; what was displaced is looked at before
// the next.
func (p *applyPlan) swap(ctx context.Context, j *applyJournal) error {
	j.Steps = p.steps
	p.tree.forget() // what was looked up for the plan may be elsewhere by now
	if err := j.save(phaseSwapping); err != nil {
		return err
	}
	for i := range p.steps {
		s := &p.steps[i]
		if err := errors.Join(ctx.Err(), p.point("step")); err != nil {
			return err
		}
		if err := j.do(p.tree, s); err != nil {
			return p.stepError(s, err)
		}
	}
	if err := p.point("swapped"); err != nil {
		return err
	}
	// Somebody who had a displaced file open may have written to it since.
	for i := range p.steps {
		if err := j.untouched(p.tree, &p.steps[i]); err != nil {
			return p.stepError(&p.steps[i], err)
		}
	}
	return nil
}

// errNotBase means that what was displaced is not what the change was made from.
var errNotBase = errors.New("it changed while the change was being applied")

// stepError is a conflict where the tree moved under the apply, else err.
func (p *applyPlan) stepError(s *applyStep, err error) error {
	why, known := lookupProblem(err)
	switch {
	case errors.Is(err, errNotBase):
		why = errNotBase.Error()
	case err == unix.EEXIST:
		why = "it appeared while the change was being applied"
	case err == unix.ENOTEMPTY:
		why = "the directory is to go, but holds files that the change does not name"
	case !known:
		return fmt.Errorf("%q: %w", s.Path, err)
	}
	return &ConflictError{Change: p.opts.Change.ID, Conflicts: []Conflict{{Path: s.Path, Reason: why, Theirs: s.file.FileState}}, Plain: p.opts.Repo == nil}
}

func (j *applyJournal) do(t *applyTree, s *applyStep) error {
	dir, name, err := t.parent(string(s.Path))
	if err != nil {
		return err
	}
	switch s.Kind {
	case stepTake:
		err = unix.Renameat2(dir, name, j.in(s), s.Work, unix.RENAME_NOREPLACE)
	case stepSwap:
		err = unix.Renameat2(j.in(s), s.Work, dir, name, unix.RENAME_EXCHANGE)
	case stepPut:
		return j.put(t, s, dir, name)
	case stepRmdir:
		err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
		t.forget() // it may be the very directory
		return err
	case stepMode:
		return j.setMode(t, s)
	}
	if err != nil {
		return err
	}
	return j.displaced(s)
}

// put moves what is staged to a free name. A directory gets its mode there: one
// that its owner may not write could not have been moved.
func (j *applyJournal) put(t *applyTree, s *applyStep, dir int, name string) error {
	err := unix.Renameat2(j.in(s), s.Work, dir, name, unix.RENAME_NOREPLACE)
	if err == nil && s.file.Kind == carrel.FileDir && s.Mode&0o700 != 0o700 {
		err = t.chmod(string(s.Path), s.Mode)
	}
	return err
}

func (j *applyJournal) setMode(t *applyTree, s *applyStep) error {
	st, err := t.lstat(string(s.Path))
	if err != nil {
		return err
	}
	if st.Ino != s.Old.Ino || st.Mode != s.Old.Mode {
		return errNotBase
	}
	return t.chmod(string(s.Path), s.Mode)
}

// displaced verifies that the work directory now holds what the change was
// made from.
func (j *applyJournal) displaced(s *applyStep) error {
	var st unix.Stat_t
	if err := statAt(j.in(s), s.Work, &st); err != nil {
		return err
	}
	if !s.Old.same(&st) {
		return errNotBase
	}
	sum, _, err := sumAt(j.in(s), s.Work, &st, "")
	if err != nil {
		return err
	}
	if !sum.Equal(s.Old.Sum) {
		return errNotBase
	}
	return nil
}

func (j *applyJournal) untouched(t *applyTree, s *applyStep) error {
	if s.Kind != stepTake && s.Kind != stepSwap {
		return nil
	}
	var st unix.Stat_t
	if err := statAt(j.in(s), s.Work, &st); err != nil {
		return err
	}
	if !s.Old.same(&st) {
		return errNotBase
	}
	return nil
}
