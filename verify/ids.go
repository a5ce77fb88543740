package verify

// idWindow is how many record identifiers are remembered to find one that
// occurs twice. Inside what a checkpoint covers the root finds every copy;
// this finds the others without growing with the log.
const idWindow = 1 << 18

// recentIDs knows identifiers by their sixteen bytes.
type recentIDs struct {
	set  map[[16]byte]struct{}
	ring [][16]byte
	next int
}

func (s *recentIDs) seen(id [16]byte) bool {
	if s.set == nil {
		s.set = make(map[[16]byte]struct{})
	}
	before := len(s.set)
	if s.set[id] = struct{}{}; len(s.set) == before {
		return true
	}
	if len(s.ring) < idWindow {
		s.ring = append(s.ring, id)
		return false
	}
	delete(s.set, s.ring[s.next])
	s.ring[s.next] = id
	s.next = (s.next + 1) % idWindow
	return false
}
