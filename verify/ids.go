package verify

import "github.com/carrel-dev/carrel"

// idWindow is how many record identifiers are remembered to find one that
// occurs twice. Inside what a checkpoint covers the root finds every copy;
// this finds the others without growing with the log.
const idWindow = 1 << 18

type recentIDs struct {
	set  map[carrel.RecordID]struct{}
	ring []carrel.RecordID
	next int
}

func (s *recentIDs) seen(id carrel.RecordID) bool {
	if s.set == nil {
		s.set = make(map[carrel.RecordID]struct{})
	}
	if _, ok := s.set[id]; ok {
		return true
	}
	if len(s.ring) < idWindow {
		s.ring = append(s.ring, id)
	} else {
		delete(s.set, s.ring[s.next])
		s.ring[s.next] = id
		s.next = (s.next + 1) % idWindow
	}
	s.set[id] = struct{}{}
	return false
}
