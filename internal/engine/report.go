package engine

import (
	"context"
	"fmt"
	"io"
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

// Report adds the log up. It reads the log only, so that it survives restarts
// and says the same everywhere.
func (e *Records) Report(ctx context.Context, opts ReportOptions) error {
	if opts.Prometheus && (opts.Denials || opts.JSON) {
		return misused("--prometheus prints every count in a format of its own; leave --denials and --json out")
	}
	s := &summing{actions: map[string]*ActionCount{}, denials: map[string]*DenialCount{}, finds: map[string]*FindingReport{}, open: map[carrel.ActionID]opened{}}
	if opts.Since > 0 {
		s.since = time.Now().Add(-opts.Since)
	}
	reader := audit.OpenReader(e.state("log"))
	records := reader.From(ctx, 0)
	if opts.Run != "" {
		run, err := e.runNamed(ctx, opts.Run)
		if err != nil {
			return err
		}
		if run == "" {
			return noRun(e.root(ctx))
		}
		records = reader.Run(ctx, run)
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

func (r Report) print(w io.Writer) error {
	fmt.Fprintf(w, "%s, %s\n", plural(int(r.Records), "record"), plural(int(r.Runs), "run"))
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
