package engine

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// ReportOptions are the flags of report.
type ReportOptions struct {
	Denials    bool
	Run        string
	Since      time.Duration // 0: all of the log
	Prometheus bool
	JSON       bool
}

// Report is what a log adds up to.
type Report struct {
	Records  int64           `json:"records"`
	Runs     int64           `json:"runs"`
	Actions  []ActionCount   `json:"actions"`
	Denials  []DenialCount   `json:"denials"`
	Findings []FindingReport `json:"findings"`
	Lost     int64           `json:"lost"` // observations that were dropped, as runs said
}

// ActionCount counts the actions that were decided alike.
type ActionCount struct {
	Operation carrel.Operation `json:"operation"`
	Verdict   carrel.Verdict   `json:"verdict"`
	Allowed   bool             `json:"allowed"` // it went ahead: allowed, or asked and approved
	Rule      string           `json:"rule"`
	Count     int64            `json:"count"`
	Failed    int64            `json:"failed"`  // went ahead and failed
	Unknown   int64            `json:"unknown"` // went ahead, and the log has no result
	Duration  Durations        `json:"duration"`
}

// DenialCount counts identical refusals.
type DenialCount struct {
	Operation carrel.Operation `json:"operation"`
	Target    string           `json:"target"`
	Verdict   carrel.Verdict   `json:"verdict"`
	Rule      string           `json:"rule"`
	Reason    string           `json:"reason"`
	Count     int64            `json:"count"`
	Runs      int              `json:"runs"`
	First     time.Time        `json:"first"`
	Last      time.Time        `json:"last"`

	runs map[carrel.RunID]bool
}

// FindingReport counts findings of one name.
type FindingReport struct {
	Name  string    `json:"name"`
	Count int64     `json:"count"`
	Last  string    `json:"last"`
	Time  time.Time `json:"time"`
}

// Durations is a histogram of how long actions took, from the intent to the
// result.
type Durations struct {
	Buckets []int64 `json:"buckets"` // by durationBounds, the last one is the rest
	Sum     int64   `json:"sum_us"`
}

// durationBounds are the upper bounds of the buckets.
var durationBounds = []time.Duration{
	time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 5 * time.Second, 30 * time.Second, 5 * time.Minute, time.Hour,
}

func (d *Durations) add(took time.Duration) {
	if d.Buckets == nil {
		d.Buckets = make([]int64, len(durationBounds)+1)
	}
	i, _ := slices.BinarySearch(durationBounds, took)
	d.Buckets[i]++
	d.Sum += took.Microseconds()
}

func (d Durations) count() (n int64) {
	for _, c := range d.Buckets {
		n += c
	}
	return n
}

// quantile is the upper bound of the bucket that holds it, as text.
func (d Durations) quantile(q float64) string {
	left := int64(q * float64(d.count()))
	for i, c := range d.Buckets {
		if left -= c; left < 0 {
			if i == len(durationBounds) {
				return "> " + short(durationBounds[i-1])
			}
			return "≤ " + short(durationBounds[i])
		}
	}
	return ""
}

// short writes 5m0s as 5m.
func short(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if rest, ok := strings.CutSuffix(s, zero); ok {
			s = rest + zero[:1]
		}
	}
	return s
}

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

// Report adds the log up. It reads the log only, so that it survives restarts
// and says the same everywhere.
func (e *Records) Report(ctx context.Context, opts ReportOptions) error {
	s := &summing{actions: map[string]*ActionCount{}, denials: map[string]*DenialCount{}, finds: map[string]*FindingReport{}, open: map[carrel.ActionID]opened{}}
	if opts.Since > 0 {
		s.since = time.Now().Add(-opts.Since)
	}
	reader := audit.OpenReader(e.state("log"))
	records := reader.From(ctx, 0)
	if opts.Run != "" {
		if err := carrel.CheckID(opts.Run, "run_"); err != nil {
			return err
		}
		records = reader.Run(ctx, carrel.RunID(opts.Run))
	}
	for entry, err := range records {
		if err != nil {
			return err
		}
		if !entry.Record.Time.Before(s.since) {
			s.add(entry.Record)
		}
	}
	r := s.sum()
	switch {
	case opts.Prometheus:
		return r.prometheus(e.host.Stdout)
	case opts.JSON && opts.Denials:
		return e.printJSON(r.Denials)
	case opts.JSON:
		return e.printJSON(r)
	case opts.Denials:
		return r.printDenials(e.host.Stdout)
	}
	return r.print(e.host.Stdout)
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
	for _, name := range slices.Sorted(maps.Keys(s.finds)) {
		r.Findings = append(r.Findings, *s.finds[name])
	}
	return r
}

func (r Report) print(w io.Writer) error {
	fmt.Fprintf(w, "%d records, %s\n", r.Records, plural(int(r.Runs), "run"))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "operation\tverdict\trule\tcount\tfailed\tp50\tp99")
	for _, c := range r.Actions {
		verdict := string(c.Verdict)
		if c.Verdict == carrel.Ask {
			verdict = map[bool]string{true: "approved", false: "not answered"}[c.Allowed]
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", c.Operation, verdict, terminal.Escape(c.Rule), c.Count, c.Failed, c.Duration.quantile(0.5), c.Duration.quantile(0.99))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, f := range r.Findings {
		fmt.Fprintf(w, "finding %s, %d: %s (%s)\n", f.Name, f.Count, terminal.Escape(f.Last), f.Time.Local().Format(time.DateTime))
	}
	return nil
}

func (r Report) printDenials(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, d := range r.Denials {
		fmt.Fprintf(table, "%d×\t%s %s\t%s\t%s\t%s, last %s\n", d.Count, d.Operation, terminal.Escape(d.Target), terminal.Escape(d.Rule), terminal.Escape(d.Reason),
			plural(d.Runs, "run"), d.Last.Local().Format(time.DateTime))
	}
	return table.Flush()
}

// prometheus writes the counts in Prometheus' text format. Targets are left
// out: they are without number, and what an agent tried may be secret.
func (r Report) prometheus(w io.Writer) error {
	var b strings.Builder
	metric := func(name, kind, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind) }
	metric("carrel_records_total", "counter", "Records of the log.")
	fmt.Fprintf(&b, "carrel_records_total %d\n", r.Records)
	metric("carrel_runs_total", "counter", "Runs that began.")
	fmt.Fprintf(&b, "carrel_runs_total %d\n", r.Runs)
	metric("carrel_observations_lost_total", "counter", "Observations that were dropped.")
	fmt.Fprintf(&b, "carrel_observations_lost_total %d\n", r.Lost)
	metric("carrel_actions_total", "counter", "Actions by operation, verdict and rule; allowed says whether they went ahead.")
	for _, c := range r.Actions {
		fmt.Fprintf(&b, "carrel_actions_total{%s,rule=%s} %d\n", c.labels(), label(c.Rule), c.Count)
	}
	metric("carrel_actions_failed_total", "counter", "Actions that went ahead and failed.")
	for _, c := range r.Actions {
		if c.Allowed {
			fmt.Fprintf(&b, "carrel_actions_failed_total{%s,rule=%s} %d\n", c.labels(), label(c.Rule), c.Failed)
		}
	}
	metric("carrel_action_seconds", "histogram", "From the intent to the result.")
	for _, c := range r.Actions {
		c.histogram(&b)
	}
	metric("carrel_findings_total", "counter", "Findings by name.")
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "carrel_findings_total{name=%s} %d\n", label(f.Name), f.Count)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c ActionCount) labels() string {
	return fmt.Sprintf("operation=%s,verdict=%s,allowed=\"%v\"", label(string(c.Operation)), label(string(c.Verdict)), c.Allowed)
}

func (c ActionCount) histogram(b *strings.Builder) {
	if c.Duration.count() == 0 {
		return
	}
	labels := c.labels() + ",rule=" + label(c.Rule)
	var below int64
	for i, n := range c.Duration.Buckets {
		below += n
		le := "+Inf"
		if i < len(durationBounds) {
			le = strconv.FormatFloat(durationBounds[i].Seconds(), 'g', -1, 64)
		}
		fmt.Fprintf(b, "carrel_action_seconds_bucket{%s,le=%q} %d\n", labels, le, below)
	}
	fmt.Fprintf(b, "carrel_action_seconds_sum{%s} %s\n", labels, strconv.FormatFloat(float64(c.Duration.Sum)/1e6, 'g', -1, 64))
	fmt.Fprintf(b, "carrel_action_seconds_count{%s} %d\n", labels, below)
}

// label quotes a value as the format wants it.
func label(v string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(terminal.Escape(v)) + `"`
}
