package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/carrel-dev/carrel"
	"golang.org/x/sys/unix"
)

// deskFile holds a desk's seatMeta. Desks of another version are left alone.
const (
	deskFile    = "desk.json"
	deskVersion = 1
)

func (w *Workspace) deskDir(id carrel.DeskID) string {
	return filepath.Join(w.opts.State, "desks", string(id))
}

// resume takes the agent's newest desk that nobody uses; nil if there is none.
// passed says of desks with work why they are not resumed.
func (w *Workspace) resume(ctx context.Context, opts SeatOptions) (s *Seat, passed []string, err error) {
	ids, err := listIDs(w.index("desks"), "dsk_")
	if err != nil {
		return nil, nil, err
	}
	for _, id := range slices.Backward(ids) {
		s, err := w.load(carrel.DeskID(id))
		if errors.Is(err, ErrOtherVersion) {
			passed = append(passed, err.Error())
		}
		if err != nil || !s.ofAgent(opts) {
			continue // half made, or of another agent
		}
		if s.Replaced() {
			if s.hasWork() {
				passed = append(passed, fmt.Sprintf("desk %s was made for another directory that was at %s; its work is not resumed (carrel pending lists what was taken of it, carrel runs prune --unapplied removes it)", id, w.root))
			}
			continue
		}
		err = s.sit("run")
		if errors.Is(err, ErrDeskBusy) {
			continue
		}
		if err == nil {
			err = s.begin(ctx, opts)
		}
		if err != nil {
			s.Close()
			return nil, nil, fmt.Errorf("taking desk %s: %w", id, err)
		}
		return s, nil, nil
	}
	return nil, passed, nil
}

// hasWork reports whether the desk holds what was neither applied nor
// discarded, as far as is known.
func (s *Seat) hasWork() bool {
	pending, err := s.readPending()
	return err != nil || len(pending.Paths) > 0 || s.meta.Open
}

// ErrOtherVersion means that state was written by a version of Carrel whose
// format this one does not know. It is left as it is.
var ErrOtherVersion = errors.New("made by another version of Carrel")

// checkVersion refuses what another version wrote.
func checkVersion(what string, got, known int) error {
	if got == known {
		return nil
	}
	return fmt.Errorf("%s was %w (format %d, this one knows %d) and is left as it is; that version can review, apply or discard it", what, ErrOtherVersion, got, known)
}

// load reads a desk without taking it.
func (w *Workspace) load(id carrel.DeskID) (*Seat, error) {
	if err := carrel.CheckID(string(id), "dsk_"); err != nil {
		return nil, err
	}
	s := &Seat{ws: w, dir: w.deskDir(id)}
	if err := readJSON(filepath.Join(s.dir, deskFile), &s.meta); err != nil {
		return nil, err
	}
	if err := checkVersion("desk "+string(id), s.meta.Version, deskVersion); err != nil {
		return nil, err
	}
	if s.meta.ID != id || string(s.meta.Root) != w.root {
		return nil, fmt.Errorf("desk %s is at another workspace", id)
	}
	return s, nil
}

func (s *Seat) ofAgent(opts SeatOptions) bool {
	uid, gid := opts.owner()
	return s.meta.Agent == opts.Agent && s.meta.UID == uid && s.meta.GID == gid
}

func (o SeatOptions) owner() (uid, gid int) {
	if o.OwnerUID == 0 {
		return os.Getuid(), os.Getgid()
	}
	return o.OwnerUID, o.OwnerGID
}

// sit locks the desk and reads it again: it may have changed before the lock.
func (s *Seat) sit(role string) error {
	lock, err := lockDesk(s.dir, role)
	if err != nil {
		return err
	}
	s.lock = lock
	return readJSON(filepath.Join(s.dir, deskFile), &s.meta)
}

// begin starts a run at a desk that exists. A desk without work starts anew
// from the tree as it is; one with work keeps what that was based on.
func (s *Seat) begin(ctx context.Context, opts SeatOptions) error {
	pending, err := s.readPending()
	if err != nil {
		return err
	}
	if len(pending.Paths) > 0 || s.meta.Open {
		s.note("the unapplied work of earlier runs goes on (--fresh starts without it)")
		if opts.Staging != StagingAuto && opts.Staging != s.meta.Staging {
			s.note(fmt.Sprintf("this desk's work is staged by %s; --staging %s needs --fresh", s.meta.Staging, opts.Staging))
		}
		if err := s.checkMounts(); err != nil {
			return err
		}
	} else if err := s.anew(opts); err != nil {
		return err
	}
	return s.start(ctx, opts)
}

// anew gives a desk without work empty layers: what is left in the old ones,
// as the agent's own state of git, belongs to a tree that has moved on.
func (s *Seat) anew(opts SeatOptions) error {
	same, err := s.sameMounts()
	if err != nil {
		return err
	}
	if !same || len(s.meta.Mounts) > 0 {
		return s.makeLayers(opts)
	}
	if s.meta.Staging == StagingCopy && opts.Staging != StagingOverlay {
		s.reset = true // by syncCopy
		return nil
	}
	for _, l := range s.meta.Layers {
		if !isEmpty(l.private()) {
			return s.makeLayers(opts)
		}
	}
	if opts.Staging == StagingCopy {
		return s.makeLayers(opts)
	}
	return nil
}

func isEmpty(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

// start fills in what every run's start needs: base, stamp, a git directory
// without credentials, and for copies a fresh view of the tree.
func (s *Seat) start(ctx context.Context, opts SeatOptions) error {
	for _, dir := range []string{s.Home(), s.Outbox()} {
		if err := s.ownDir(dir, 0o700); err != nil {
			return err
		}
	}
	_ = os.Remove(filepath.Join(s.Outbox(), carrel.MessageFile))
	if !s.meta.Open {
		stamp, err := fsTime(s.ws.root, s.dir)
		if err != nil {
			return err
		}
		s.meta.Base = carrel.Base{Stamp: stamp}
		if repo := s.ws.repo; repo != nil {
			s.meta.Base.Commit, s.meta.Base.Branch = repo.Head, repo.Branch
		}
	}
	if err := s.standIn(); err != nil {
		return err
	}
	for i := range s.meta.Layers {
		if err := s.fill(ctx, &s.meta.Layers[i], opts); err != nil {
			return err
		}
	}
	if err := s.makePoints(); err != nil {
		return err
	}
	s.wasOpen = s.meta.Open
	s.meta.Open, s.meta.Used = true, time.Now().UTC()
	s.save()
	return nil
}

func (s *Seat) note(text string) { s.Notes = append(s.Notes, text) }

// ownDir makes a directory that belongs to the agent.
func (s *Seat) ownDir(dir string, mode uint32) error {
	err := unix.Mkdir(dir, mode)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err == nil && s.meta.UID != os.Getuid() {
		err = unix.Lchown(dir, s.meta.UID, s.meta.GID)
	}
	if err == nil {
		err = unix.Chmod(dir, mode)
	}
	if err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	return nil
}
