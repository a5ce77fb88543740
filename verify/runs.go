package verify

import (
	"errors"
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel"
)

// runs follows the runs and the actions through a log.
type runs struct {
	last    map[carrel.RunID]int64 // open runs, by their last sequence number
	closed  map[carrel.RunID]bool
	intents map[carrel.ActionID]carrel.Digest // without a result so far
	partial bool                              // the log is read from the middle
}

func newRuns(partial bool) *runs {
	return &runs{make(map[carrel.RunID]int64), make(map[carrel.RunID]bool), make(map[carrel.ActionID]carrel.Digest), partial}
}

// add checks that r follows from the records before it.
func (s *runs) add(r *carrel.Record) error {
	if err := s.sequence(r); err != nil {
		return err
	}
	switch r.Kind {
	case carrel.KindIntent:
		if _, twice := s.intents[r.Action.ID]; twice {
			return fmt.Errorf("a second intent of action %s", r.Action.ID)
		}
		// Cloned: the record's strings share its line, which is not to be kept.
		s.intents[clone(r.Action.ID)] = clone(r.ActionDigest)
	case carrel.KindResult:
		digest, ok := s.intents[r.Action.ID]
		switch {
		case !ok && !s.partial:
			return fmt.Errorf("a result of action %s, which has no open intent", r.Action.ID)
		case ok && digest != r.ActionDigest:
			return fmt.Errorf("the result of action %s is of another action than its intent", r.Action.ID)
		}
		delete(s.intents, r.Action.ID)
	}
	return nil
}

// checkDigest checks that a record's digest is that of the action it shows.
func checkDigest(r *carrel.Record) error {
	if digest, err := r.Action.Digest(); err != nil || digest != r.ActionDigest {
		return fmt.Errorf("action_digest is not the digest of action %s", r.Action.ID)
	}
	return nil
}

func (s *runs) sequence(r *carrel.Record) error {
	if r.RunSeq == 0 {
		if r.Kind == carrel.KindRunStart {
			return errors.New("run.start without a run sequence")
		}
		return nil
	}
	last, open := s.last[r.Run]
	switch {
	case s.closed[r.Run]:
		return fmt.Errorf("run %s goes on after its end", r.Run)
	case (r.RunSeq == 1) != (r.Kind == carrel.KindRunStart):
		return fmt.Errorf("%s is number %d of run %s", r.Kind, r.RunSeq, r.Run)
	case !open && r.RunSeq != 1 && !s.partial:
		return fmt.Errorf("run %s begins with number %d", r.Run, r.RunSeq)
	case open && r.RunSeq != last+1:
		return fmt.Errorf("run %s goes from number %d to %d", r.Run, last, r.RunSeq)
	}
	if open {
		s.last[r.Run] = r.RunSeq
	} else {
		s.last[clone(r.Run)] = r.RunSeq
	}
	if r.Kind == carrel.KindRunEnd {
		if r.RunInfo.Records != r.RunSeq {
			return fmt.Errorf("run %s has %d records and says %d", r.Run, r.RunSeq, r.RunInfo.Records)
		}
		delete(s.last, r.Run)
		s.closed[clone(r.Run)] = true
	}
	return nil
}

func clone[T ~string](s T) T { return T(strings.Clone(string(s))) }
