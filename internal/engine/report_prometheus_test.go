package engine

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/carrel-dev/carrel"
)

// The metrics are what Prometheus' own parser reads from them, whatever the
// names of rules are: a policy's author chooses those.
func TestPrometheusParsesTheMetrics(t *testing.T) {
	rules := []string{"builtin/allow", "run1/quoted \"x\"} 1\ncarrel_runs_total 99", "run1/back\\slash\\n", "run1/\xff\x00\u202e", `run1/{le="+Inf"}`, ""}
	r := Report{Records: 12, Runs: 3, Lost: 4, Findings: []FindingReport{{Name: "repeated-denial", Count: 2}}}
	for i, rule := range rules {
		c := ActionCount{Operation: carrel.OpExec, Verdict: carrel.Allow, Allowed: true, Rule: rule, Count: int64(10 + i), Failed: int64(i)}
		c.Duration.add(3 * time.Millisecond)
		c.Duration.add(700 * time.Millisecond)
		c.Duration.add(2 * time.Hour)
		r.Actions = append(r.Actions, c)
	}
	r.Actions = append(r.Actions, ActionCount{Operation: carrel.OpConnect, Verdict: carrel.Deny, Rule: "egress/unnamed", Count: 1 << 40})
	var out bytes.Buffer
	if err := r.prometheus(&out); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(out.String()))
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for name, want := range map[string]float64{"carrel_records_total": 12, "carrel_runs_total": 3, "carrel_observations_lost_total": 4, "carrel_findings_total": 2} {
		if f := families[name]; f == nil || len(f.Metric) != 1 || f.Metric[0].GetCounter().GetValue() != want {
			t.Errorf("%s is %v, want %v", name, f, want)
		}
	}
	if f := families["carrel_actions_total"]; len(f.Metric) != len(rules)+1 || f.Metric[len(rules)].GetCounter().GetValue() != 1<<40 {
		t.Errorf("the actions are %v", f)
	}
	if f := families["carrel_actions_failed_total"]; len(f.Metric) != len(rules) {
		t.Errorf("the failures are %v", f)
	}
	histograms := families["carrel_action_seconds"].GetMetric()
	if len(histograms) != len(rules) {
		t.Fatalf("the durations are %v", histograms)
	}
	for _, m := range histograms {
		h := m.GetHistogram()
		if h.GetSampleCount() != 3 || h.GetSampleSum() < 7200.7 || h.GetSampleSum() > 7200.71 || len(h.Bucket) != len(durationBounds)+1 {
			t.Errorf("a histogram is %v", h)
		}
		for i, below := uint64(0), h.Bucket; i < uint64(len(below))-1; i++ {
			if below[i].GetCumulativeCount() > below[i+1].GetCumulativeCount() || below[i].GetUpperBound() != durationBounds[i].Seconds() {
				t.Errorf("bucket %d of %v", i, h)
			}
		}
	}
}

// A log without an action has every metric's name, and no sample that is none.
func TestPrometheusParsesTheMetricsOfAnEmptyLog(t *testing.T) {
	var out bytes.Buffer
	if err := (Report{}).prometheus(&out); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(&out)
	if err != nil || families["carrel_records_total"] == nil || len(families["carrel_actions_total"].GetMetric()) != 0 {
		t.Errorf("%v, %v", families, err)
	}
}
