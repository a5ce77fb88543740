package workspace

import (
	"errors"
	"time"

	"github.com/carrel-dev/carrel"
)

// DeskEntry describes a desk of this workspace.
type DeskEntry struct {
	ID      carrel.DeskID `json:"id"`
	Agent   string        `json:"agent"`
	Staging Staging       `json:"staging"`
	Used    time.Time     `json:"used"`
	Busy    bool          `json:"busy"`    // a run is under way
	Pending int           `json:"pending"` // paths that were neither applied nor discarded, at the last capture
}

// Desks lists this workspace's desks, oldest first.
func (w *Workspace) Desks() ([]DeskEntry, error) {
	ids, err := listIDs(w.index("desks"), "dsk_")
	if err != nil {
		return nil, err
	}
	var out []DeskEntry
	for _, id := range ids {
		s, err := w.Desk(carrel.DeskID(id))
		if err != nil {
			continue // half made, or pruned meanwhile
		}
		pending, err := s.readPending()
		if err != nil {
			s.Close()
			return nil, err
		}
		out = append(out, DeskEntry{ID: s.meta.ID, Agent: s.meta.Agent, Staging: s.meta.Staging, Used: s.meta.Used, Busy: s.Busy(), Pending: len(pending.Paths)})
		s.Close()
	}
	return out, nil
}

// Desk opens a desk by id without starting a run at it: to capture, settle or
// discard its work. If a run is under way the seat is Busy, and only a capture
// that says Running works. While it is open no run can start at the desk, so
// close it soon.
func (w *Workspace) Desk(id carrel.DeskID) (*Seat, error) {
	s, err := w.load(id)
	if err != nil {
		return nil, err
	}
	if err := s.sit("look"); err != nil && !errors.Is(err, ErrDeskBusy) {
		return nil, err
	}
	return s, nil
}

// Busy reports whether somebody else holds the desk.
func (s *Seat) Busy() bool { return s.lock == nil }

// Unfinished reports whether the last run ended without its work having been
// captured, as after a crash.
func (s *Seat) Unfinished() bool { return s.meta.Open }
