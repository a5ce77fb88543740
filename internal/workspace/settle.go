package workspace

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
)

// Settle tells the desk that files of a change were applied, to the tree or to
// a branch: they leave its layer, so that the agent sees the user's tree
// there. What the agent altered after that capture stays, and so does what was
// withheld. While a run is under way, also in another process, nothing leaves
// the layer; the desk only learns that its base is newer there.
func (s *Seat) Settle(_ context.Context, applied []carrel.FileChange) error {
	if s.lock == nil && !s.meta.Open {
		return fmt.Errorf("settling desk %s: %w", s.meta.ID, ErrDeskBusy)
	}
	pending, err := s.readPending()
	if err != nil {
		return err
	}
	now, err := fsTime(s.ws.root, s.dir)
	if err != nil {
		return err
	}
	if pending.Paths == nil {
		pending.Paths = map[carrel.Text]pendingPath{}
	}
	var left []carrel.FileChange
	for _, f := range applied {
		known, ok := pending.Paths[f.Path]
		switch {
		case s.meta.Open:
			pending.Paths[f.Path] = pendingPath{Stamp: now, Before: f.FileState, After: f.FileState}
		case ok && known.After == f.FileState:
			delete(pending.Paths, f.Path)
			left = append(left, f)
		}
	}
	switch {
	case s.meta.Open:
	case len(pending.Paths) == 0 && s.meta.Staging == StagingOverlay && len(s.meta.Mounts) == 0:
		// Nothing is left to tell apart: as at the next run's start, at once.
		if err := s.emptyLayers(); err != nil {
			return fmt.Errorf("settling desk %s: %w", s.meta.ID, err)
		}
	default:
		if err := s.shed(&pending, left, now); err != nil {
			return fmt.Errorf("settling desk %s: %w", s.meta.ID, err)
		}
	}
	return s.writePending(pending)
}

// shed takes out of the workspace's layers what is not pending. left are the
// files that are no longer: applied, or the same as in the tree. No run may be
// under way.
func (s *Seat) shed(pending *pendingWork, left []carrel.FileChange, now time.Time) error {
	d := shedder{pending: pending, holes: s.holes(), above: map[string]bool{}, deletions: map[string]bool{}, left: map[string]carrel.FileState{}, now: now}
	for p, known := range pending.Paths {
		for at := string(p); at != "."; at = path.Dir(at) {
			d.above[at] = true
			d.deletions[at] = d.deletions[at] || known.After.Kind == carrel.FileNone
		}
	}
	byLayer := map[*Layer][]carrel.FileChange{}
	for _, f := range left {
		d.left[string(f.Path)] = f.FileState
		l := s.layerOf(string(f.Path))
		byLayer[l] = append(byLayer[l], f)
	}
	for _, l := range s.workspaceLayers() {
		var err error
		switch {
		case l.Hidden:
		case l.Copy != "":
			err = s.shedCopy(l, byLayer[l])
		default:
			err = d.layer(l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *shedder) layer(l *Layer) error {
	if isGitName(path.Base(l.root())) {
		return nil
	}
	up, restore, err := openLayer(l.Upper)
	if err != nil {
		return err
	}
	defer restore()
	return d.dir(up, l.root())
}

// shedder empties an overlay's upper of all that is not pending.
type shedder struct {
	pending   *pendingWork
	holes     map[string]bool // other layers lie there
	above     map[string]bool // pending paths and the directories above them
	deletions map[string]bool // of those, the ones with a pending deletion at or below them
	left      map[string]carrel.FileState
	now       time.Time
}

func (d *shedder) dir(fd int, rel string) error {
	names, err := readNames(fd, 1<<30)
	if err != nil {
		return err
	}
	for _, name := range names {
		at := path.Join(rel, name)
		switch {
		case at == gitName, d.holes[at]:
		case d.above[at]:
			err = d.keep(fd, name, at)
		default:
			err = (&remover{top: fd}).removeAll(fd, name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	return nil
}

// keep goes into a directory with pending work. One that hides what the tree
// has below it is opened up to the tree, unless that would undo a deletion;
// then it stays as it is, and what it holds is remembered as based on now.
func (d *shedder) keep(fd int, name, at string) error {
	var st unix.Stat_t
	if err := statAt(fd, name, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return err
	}
	marks, err := readMarks(fd, name, &st)
	if err != nil {
		return err
	}
	if marks.redirect != "" || marks.opaque && d.deletions[at] {
		d.guard(at)
		return nil
	}
	if marks.opaque {
		if err := clearOpaque(fd, name); err != nil {
			return err
		}
	}
	child, restore, err := openOurDir(fd, name, &st)
	if err != nil {
		return err
	}
	defer restore()
	return d.dir(child, at)
}

// guard remembers what stays in the layer below at although it is no longer
// pending: if the user edits it, the layer must not seem to be an edit.
func (d *shedder) guard(at string) {
	for p, state := range d.left {
		if strings.HasPrefix(p, at+"/") {
			d.pending.Paths[carrel.Text(p)] = pendingPath{Stamp: d.now, Before: state, After: state}
		}
	}
}

func clearOpaque(dir int, name string) error {
	p := fmt.Sprintf("/proc/self/fd/%d/%s", dir, name)
	for _, attr := range []string{"trusted.overlay.opaque", "user.overlay.opaque"} {
		err := unix.Lremovexattr(p, attr)
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("removing %s: %w", attr, err)
		}
	}
	return nil
}

// shedCopy makes the next run take files from the tree again: they count as
// copies of something older.
func (s *Seat) shedCopy(l *Layer, left []carrel.FileChange) error {
	if len(left) == 0 {
		return nil
	}
	index, err := s.readIndex(l)
	if err != nil {
		return err
	}
	root, restore, err := openLayer(l.Copy)
	if err != nil {
		return err
	}
	defer restore()
	for _, f := range left {
		var st unix.Stat_t
		if statBeneath(root, l.inside(string(f.Path)), &st) != nil {
			delete(index, string(f.Path))
			continue
		}
		index[string(f.Path)] = copied{Copy: versionOf(&st), Mode: st.Mode, Size: st.Size}
	}
	return s.writeIndex(l, index)
}
