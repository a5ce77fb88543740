package workspace

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// walk reads the workspace's layers, several files at a time.
func (s *Seat) walk(ctx context.Context, z *freezer) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.GOMAXPROCS(0)) // half of them wait for the disk
	w := &walk{ctx: ctx, limits: z.limits, holes: s.holes()}
	w.emit = func(it *item) error {
		group.Go(func() error { return z.freeze(it) })
		return nil
	}
	if err := s.standIn(); err != nil {
		return err
	}
	for _, l := range s.workspaceLayers() {
		if l.Hidden || isGitName(path.Base(l.root())) {
			continue // what the agent does to its repository is no part of a change
		}
		if err := s.walkLayer(w, l); err != nil {
			return errors.Join(err, group.Wait())
		}
	}
	return group.Wait()
}

func (s *Seat) walkLayer(w *walk, l *Layer) error {
	up, restore, err := openLayer(l.private())
	if errors.Is(err, unix.ENOENT) {
		return nil // discarded, and no run since
	}
	if err != nil {
		return err
	}
	v := view{up: newDirRef(up, restore)}
	defer v.up.drop()
	lower, err := openRoot(l.Lower)
	if err != nil {
		return err
	}
	v.before = newDirRef(lower, func() { unix.Close(lower) })
	defer v.before.drop()
	w.layer, w.lower, w.index = l, lower, nil
	if l.Copy == "" {
		v.through = v.before
	} else if w.index, err = s.readIndex(l); err != nil {
		return err
	}
	if l.Rel == "" {
		return w.dir(v, ".", 0)
	}
	return errors.Join(w.dir(v, l.Rel, strings.Count(l.Rel, "/")+1), w.top(l, v))
}

// openLayer opens the root of a layer, whose mode the agent may have changed.
func openLayer(dir string) (int, func(), error) {
	parent, err := openRoot(path.Dir(dir))
	if err != nil {
		return -1, nil, err
	}
	defer unix.Close(parent)
	var st unix.Stat_t
	if err := statAt(parent, path.Base(dir), &st); err != nil {
		return -1, nil, fmt.Errorf("looking at %s: %w", dir, err)
	}
	fd, restore, err := openOurDir(parent, path.Base(dir), &st)
	if err != nil {
		return -1, nil, fmt.Errorf("opening %s: %w", dir, err)
	}
	return fd, restore, nil
}
