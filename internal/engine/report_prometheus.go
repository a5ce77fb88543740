package engine

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel/internal/terminal"
)

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
