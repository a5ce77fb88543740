package workspace

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/carrel-dev/carrel"
)

// newSeat makes a desk. An agent that starts afresh keeps the home of the
// desk it leaves.
func (w *Workspace) newSeat(ctx context.Context, opts SeatOptions) (*Seat, error) {
	tree, err := identityOf(w.root)
	if err != nil {
		return nil, err
	}
	id := carrel.NewDeskID()
	s := &Seat{ws: w, dir: w.deskDir(id)}
	s.meta = seatMeta{Version: deskVersion, ID: id, Agent: opts.Agent, Root: carrel.Text(w.root), treeIdentity: tree, Created: time.Now().UTC()}
	s.meta.UID, s.meta.GID = opts.owner()
	if err := s.furnish(ctx, opts); err != nil {
		s.Close()
		_ = removeTree(s.dir)
		return nil, fmt.Errorf("making a desk: %w", err)
	}
	return s, nil
}

func (s *Seat) furnish(ctx context.Context, opts SeatOptions) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	lock, err := lockDesk(s.dir, "run")
	if err != nil {
		return err
	}
	s.lock = lock
	if opts.Fresh {
		s.inheritHome(opts)
	}
	for _, dir := range []string{s.Home(), s.Outbox()} {
		if err := s.ownDir(dir, 0o700); err != nil {
			return err
		}
	}
	if err := s.makeLayers(opts); err != nil {
		return err
	}
	if err := s.start(ctx, opts); err != nil {
		return err
	}
	if err := s.Saved(); err != nil {
		return err
	}
	if err := os.MkdirAll(s.ws.index("desks"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.ws.index("desks"), string(s.meta.ID)), nil, 0o600)
}

// inheritHome moves the home of the desk that would have been resumed: the
// agent's login and settings are not part of its work.
func (s *Seat) inheritHome(opts SeatOptions) {
	ids, _ := listIDs(s.ws.index("desks"), "dsk_")
	for _, id := range slices.Backward(ids) {
		old, err := s.ws.load(carrel.DeskID(id))
		if err != nil || !old.ofAgent(opts) || old.Replaced() || old.sit("home") != nil {
			continue
		}
		err = os.Rename(old.Home(), s.Home())
		old.Close()
		if err == nil {
			return
		}
	}
}
