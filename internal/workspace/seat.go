package workspace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/carrel-dev/carrel"
	"golang.org/x/sys/unix"
)

// Staging says how a seat keeps changes apart from the tree.
type Staging string

// The kinds of staging. Auto is only asked for, never in force.
const (
	StagingAuto    Staging = "auto"
	StagingOverlay Staging = "overlay"
	StagingCopy    Staging = "copy"
)

// SeatOptions say who sits down and how.
type SeatOptions struct {
	Agent   string
	Fresh   bool    // begin without the unapplied work of earlier runs; it stays at its own desk
	Staging Staging // "" means auto
	// Probe tries an overlay of lower and upper; an error says why it cannot
	// be had: by file systems, by the kernel's age, or by who sits down. It is
	// asked once per desk. If it is nil an overlay is taken to work.
	Probe func(lower, upper string) error
	// OwnerUID and OwnerGID are who the agent is on the host, if that is not
	// the caller: a desk started by root. Zero means the caller.
	OwnerUID, OwnerGID int
	// Progress hears how much has been copied, if copies are made. May be nil.
	Progress func(files, bytes int64)
	Copy     CopyLimits
}

// CopyLimits bound copy staging. Zero means the default.
type CopyLimits struct {
	Files int64
	Bytes int64
}

// Layer is one tree the desk sees through a private layer. Either Upper and
// Work are set (an overlay over Lower) or Copy is (a private copy of Lower).
type Layer struct {
	Name    string   `json:"name"` // "workspace", "workspace-1", … or "git"
	Lower   string   `json:"lower"`
	Upper   string   `json:"upper,omitempty"`
	Work    string   `json:"work,omitempty"`
	Copy    string   `json:"copy,omitempty"`
	Targets []string `json:"targets"` // where the desk sees it
	// Rel is where in the workspace the layer lies, "" for its root: a
	// workspace with mounts inside has several layers, parents first.
	Rel string `json:"rel,omitempty"`
	// Hidden layers are an empty directory, Copy, in the place of Lower.
	Hidden bool `json:"hidden,omitempty"`
}

// Names of layers.
const (
	layerWorkspace = "workspace"
	layerGit       = "git"
)

// Seat is one agent's persistent place at a workspace: layers, home and
// outbox, kept until the work is applied or discarded. While it is taken no
// other run can take it. Its methods are not safe for concurrent use.
type Seat struct {
	ws   *Workspace
	dir  string
	meta seatMeta
	lock *os.File
	// wasOpen says that an earlier run's work was not captured when this one
	// sat down.
	wasOpen bool
	// reset makes a copy what its original is before the run.
	reset bool
	saved func() error // waits for the last save; nil: none
	// Notes say what a user may want to know about how the seat was taken,
	// one sentence each: staging fell back, work was resumed.
	Notes []string
}

// seatMeta is what desk.json holds.
type seatMeta struct {
	Version      int           `json:"v"`
	ID           carrel.DeskID `json:"id"`
	Agent        string        `json:"agent"`
	Root         carrel.Text   `json:"root"`
	treeIdentity               // of the root: another tree at the same path is another workspace
	Base         carrel.Base   `json:"base"`
	Staging      Staging       `json:"staging"`
	UID          int           `json:"uid"`
	GID          int           `json:"gid"`
	Layers       []Layer       `json:"layers"`
	// Mounts are the mount points inside the workspace the layers were made for.
	Mounts  []string  `json:"mounts,omitempty"`
	Created time.Time `json:"created"`
	Used    time.Time `json:"used"`
	// Open is set while a run's work has not been captured: then the stamp
	// of that run goes on being the stamp of what it touched.
	Open bool `json:"open"`
}

// ErrDeskBusy means that another run sits at the desk.
var ErrDeskBusy = errors.New("another run is using this desk")

// ID is the desk's identifier.
func (s *Seat) ID() carrel.DeskID { return s.meta.ID }

// Base is what the agent's work is based on.
func (s *Seat) Base() carrel.Base { return s.meta.Base }

// Staging is the kind in force.
func (s *Seat) Staging() Staging { return s.meta.Staging }

// Layers are the staged trees, the workspace first.
func (s *Seat) Layers() []Layer { return s.meta.Layers }

// Home is the directory for the agent's private home.
func (s *Seat) Home() string { return filepath.Join(s.dir, "home") }

// Outbox is the directory that the agent writes carrel.MessageFile in.
func (s *Seat) Outbox() string { return filepath.Join(s.dir, "outbox") }

// DiskPaths are the directories that a run fills.
func (s *Seat) DiskPaths() []string { return []string{s.dir} }

// Unused takes back that a run began here: it never started, so that what
// changes in the tree from now on was not changed behind its back.
func (s *Seat) Unused() error {
	if s.wasOpen || s.lock == nil {
		return nil
	}
	s.meta.Open = false
	s.save()
	return s.Saved()
}

// save begins to write the desk's own file. A write waits for the disk now and
// then, and what is done meanwhile does not need the file.
func (s *Seat) save() {
	before, meta, done := s.saved, s.meta, make(chan error, 1)
	go func() {
		if before != nil {
			_ = before() // this write replaces it
		}
		done <- writeJSONLater(filepath.Join(s.dir, deskFile), meta)
	}()
	s.saved = sync.OnceValue(func() error { return <-done })
}

// Saved waits until the desk's own file says what the seat says. It must have
// returned nil before an agent starts, and before a run counts as ended.
func (s *Seat) Saved() error {
	if s.saved == nil {
		return nil
	}
	return s.saved()
}

// Close gives the seat up; the work stays.
func (s *Seat) Close() error {
	if s.lock == nil {
		return nil
	}
	err := errors.Join(s.Saved(), s.lock.Close())
	s.lock = nil
	if err != nil {
		return fmt.Errorf("leaving desk %s: %w", s.meta.ID, err)
	}
	return nil
}

// Take sits agent down: at its newest desk here that nobody uses, where its
// unapplied work is, else at a new one.
func (w *Workspace) Take(ctx context.Context, opts SeatOptions) (*Seat, error) {
	if opts.Staging == "" {
		opts.Staging = StagingAuto
	}
	var passed []string
	if !opts.Fresh {
		var s *Seat
		var err error
		if s, passed, err = w.resume(ctx, opts); s != nil || err != nil {
			return s, err
		}
	}
	s, err := w.newSeat(ctx, opts)
	if s != nil {
		s.Notes = append(s.Notes, passed...)
	}
	return s, err
}

// lockPatience is how long a start waits for one that only looks at a desk.
const lockPatience = 5 * time.Second

// lockDesk takes the desk's lock for a role ("run", or what else is done with
// a desk), or fails with ErrDeskBusy at once if a run has it. The lock ends
// with the descriptor, so that a killed supervisor leaves no stale lock.
func lockDesk(dir, role string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking desk: %w", err)
	}
	for wait := lockPatience; ; wait -= 10 * time.Millisecond {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || wait <= 0 || heldByRun(f) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "%-8.8s", role), 0)
	}
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrDeskBusy
	}
	return nil, fmt.Errorf("locking desk: %w", err)
}

func heldByRun(f *os.File) bool {
	role := make([]byte, 3)
	_, err := f.ReadAt(role, 0)
	return err == nil && string(role) == "run"
}
