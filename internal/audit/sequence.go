package audit

import (
	"fmt"

	"github.com/carrel-dev/carrel"
)

// sequence numbers the records of the runs that were started through one
// handle. A record of any other run carries no number: what another process
// says about a run is not part of what the run vouches for.
type sequence map[carrel.RunID]int64

// number gives the record its place in its run and returns how to take that
// back, for a record that could not be encoded.
func (s sequence) number(r *carrel.Record, l *line) error {
	last, open := s[r.Run]
	switch {
	case r.Kind == carrel.KindRunStart && open:
		return fmt.Errorf("run %s was started before", r.Run)
	case r.Kind == carrel.KindRunStart:
	case !open:
		l.setSeq(0)
		return nil
	}
	if r.Kind == carrel.KindRunEnd {
		return s.end(r, l, last+1)
	}
	s[r.Run] = last + 1
	l.setSeq(last + 1)
	return nil
}

// end closes a run with the count of its records.
func (s sequence) end(r *carrel.Record, l *line, seq int64) error {
	info := *r.RunInfo
	info.Records = seq
	r.RunInfo, r.RunSeq = &info, seq
	encoded, err := encode(r)
	if err != nil {
		return err
	}
	*l = *encoded
	delete(s, r.Run)
	return nil
}
