package engine

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/carrel-dev/carrel"
)

// maxDifferent bounds what a report tells apart, so that its size does not
// depend on what agents try. Beyond it all is counted as "other".
const maxDifferent = 10_000

// summing adds records up.
type summing struct {
	report  Report
	since   time.Time
	actions map[string]*ActionCount
	denials map[string]*DenialCount
	finds   map[string]*FindingReport
	open    map[carrel.ActionID]opened
}

// opened is an intent whose result has not been seen.
type opened struct {
	counted *ActionCount
	boot    int64
	time    time.Time
}

func (s *summing) add(r carrel.Record) {
	s.report.Records++
	switch r.Kind {
	case carrel.KindRunStart:
		s.report.Runs++
	case carrel.KindRunEnd:
		if r.RunInfo != nil {
			s.report.Lost += r.RunInfo.Lost
		}
	case carrel.KindIntent:
		c := s.action(r, true)
		c.Count++
		s.open[r.Action.ID] = opened{c, r.Boot, r.Time}
	case carrel.KindResult:
		s.result(r)
	case carrel.KindRefused:
		s.action(r, false).Count += 1 + r.Repeats
		s.refused(r)
	case carrel.KindObservation:
		if name, what := findingIn(r); name != "" {
			f := s.finds[name]
			if f == nil {
				f = &FindingReport{Name: name}
				s.finds[name] = f
			}
			f.Count, f.Last, f.Time = f.Count+1, what, r.Time
		}
	}
}

func (s *summing) action(r carrel.Record, allowed bool) *ActionCount {
	c := ActionCount{Operation: r.Action.Operation, Allowed: allowed}
	if r.Decision != nil {
		c.Verdict, c.Rule = r.Decision.Verdict, firstRule(*r.Decision)
	}
	key := fmt.Sprintf("%s\x00%s\x00%v\x00%s", c.Operation, c.Verdict, allowed, c.Rule)
	if known := s.actions[key]; known != nil {
		return known
	}
	if len(s.actions) >= maxDifferent {
		c.Rule = "other"
		key = fmt.Sprintf("%s\x00%s\x00%v\x00other", c.Operation, c.Verdict, allowed)
		if known := s.actions[key]; known != nil {
			return known
		}
	}
	s.actions[key] = &c
	return &c
}

func (s *summing) result(r carrel.Record) {
	o, ok := s.open[r.Action.ID]
	if !ok {
		return // its intent is older than what is looked at
	}
	delete(s.open, r.Action.ID)
	if r.Outcome != nil && r.Outcome.Status == carrel.OutcomeFailed {
		o.counted.Failed++
	}
	took := time.Duration(r.Boot-o.boot) * time.Microsecond
	if r.Boot == 0 || took < 0 { // no such clock, or another boot
		took = max(r.Time.Sub(o.time), 0)
	}
	o.counted.Duration.add(took)
}

func (s *summing) refused(r carrel.Record) {
	d := DenialCount{Operation: r.Action.Operation, Target: target(*r.Action), First: r.Time, runs: map[carrel.RunID]bool{}}
	if r.Decision != nil {
		d.Verdict, d.Rule, d.Reason = r.Decision.Verdict, firstRule(*r.Decision), r.Decision.Reason
	}
	if len(s.denials) >= maxDifferent {
		d.Target = "other"
	}
	key := fmt.Sprintf("%s\x00%s\x00%s", d.Operation, d.Target, d.Rule)
	known := s.denials[key]
	if known == nil {
		known = &d
		s.denials[key] = known
	}
	known.Count += 1 + r.Repeats
	known.Last = r.Time
	if len(known.runs) < maxDifferent {
		known.runs[r.Run] = true
	}
}

func (s *summing) sum() Report {
	r := s.report
	r.Actions, r.Denials, r.Findings = []ActionCount{}, []DenialCount{}, []FindingReport{}
	for _, o := range s.open {
		o.counted.Unknown++
	}
	for _, c := range s.actions {
		r.Actions = append(r.Actions, *c)
	}
	slices.SortFunc(r.Actions, func(a, b ActionCount) int {
		return cmp.Or(cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Verdict, b.Verdict), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Rule, b.Rule))
	})
	for _, d := range s.denials {
		d.Runs = len(d.runs)
		r.Denials = append(r.Denials, *d)
	}
	slices.SortFunc(r.Denials, func(a, b DenialCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Rule, b.Rule))
	})
	for _, name := range sortedKeys(s.finds) {
		r.Findings = append(r.Findings, *s.finds[name])
	}
	return r
}
