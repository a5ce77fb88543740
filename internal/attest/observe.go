package attest

import (
	"fmt"
	"iter"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/verify"
)

// Logged is a record with its place in the log.
type Logged struct {
	Index  int64
	Record carrel.Record
	Raw    []byte // as stored and hashed
}

// maxListed bounds the files of a change that a statement lists one by one;
// those left out are counted.
const maxListed = 2000

// Observed is what the log says of one run, and of one change of it.
type Observed struct {
	Run            carrel.RunID
	Started, Ended time.Time
	Info           carrel.RunInfo // of the last record that has one
	Closed         bool           // the run's last record is there, with as many as it says
	Processes      []verify.TracedProcess
	Destinations   []verify.Destination
	Omitted        int64 // starts and destinations that are not listed
	Change         *carrel.ChangeRef
	Publication    *Logged          // the result of publishing the change; nil: not published
	Target         string           // where it was published to
	Approval       *carrel.Approval // people's answer on which it was published
	Head           *Logged          // the newest record of the run

	count   int64 // records of the process that carried the run out
	gap     bool
	reached verify.Reached
	publish *carrel.Record // the newest intent to publish the change
	seen    int64
}

// Observe reads the records of one run, in order, for what they say of it and
// of one of its changes.
func Observe(run carrel.RunID, change carrel.ChangeID, records iter.Seq2[Logged, error]) (*Observed, error) {
	o := &Observed{Run: run}
	for r, err := range records {
		if err != nil {
			return nil, fmt.Errorf("reading the records of %s: %w", run, err)
		}
		if r.Record.Run != run {
			return nil, fmt.Errorf("record %d is of another run", r.Index)
		}
		o.sequence(&r.Record)
		o.add(r, change)
		o.Head = &r
		o.seen++
	}
	if o.seen == 0 || o.Started.IsZero() {
		return nil, fmt.Errorf("the log has no beginning of run %s", run)
	}
	o.Processes, o.Destinations, o.Omitted = o.reached.Processes, o.reached.Destinations(), o.reached.Omitted
	return o, nil
}

// sequence follows the records of the process that carries the run out.
func (o *Observed) sequence(r *carrel.Record) {
	if r.RunSeq == 0 {
		return
	}
	o.count++
	o.gap = o.gap || r.RunSeq != o.count
	o.Closed = r.Kind == carrel.KindRunEnd && !o.gap && r.RunInfo.Records == o.count
}

func (o *Observed) add(l Logged, change carrel.ChangeID) {
	o.reached.Add(&l.Record)
	switch r := &l.Record; r.Kind {
	case carrel.KindRunStart:
		o.Started, o.Info = r.Time, *r.RunInfo
	case carrel.KindRunEnd:
		o.Ended, o.Info = r.Time, *r.RunInfo
	case carrel.KindIntent:
		if p := r.Action.Publication; p != nil && p.Change == change {
			o.publish = r
		}
	case carrel.KindResult:
		if o.publish != nil && r.Action.ID == o.publish.Action.ID && r.Outcome.Status == carrel.OutcomeDone {
			o.Publication, o.Approval, o.Target = &l, o.publish.Approval, o.publish.Action.Publication.Target
		}
	case carrel.KindChange:
		if r.Change.ID == change {
			o.Change = r.Change
		}
	}
}

// Incomplete says why the trace of the run is not complete; "" if it is.
func (o *Observed) Incomplete() string {
	switch {
	case o.gap:
		return "records of the run are missing"
	case o.Ended.IsZero():
		return "the run has not ended in an orderly way, or goes on"
	case !o.Closed:
		return "the run's last record counts other records than there are"
	case o.Info.Lost > 0:
		return fmt.Sprintf("%d refused packets are counted and not recorded one by one", o.Info.Lost)
	case o.Omitted > 0:
		return fmt.Sprintf("%d starts and connections are in the log and not listed here", o.Omitted)
	}
	return ""
}
