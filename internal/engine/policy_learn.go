package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// PolicyLearnOptions are the flags of `policy learn`.
type PolicyLearnOptions struct {
	Runs   []string // none: the latest, but with Hooks
	Hooks  bool     // what hooks were answered outside a desk
	Output string   // a directory; empty: print
	JSON   bool
}

// PolicyLearned is what `policy learn --json` prints: the texts of the files
// that it would write, and what nothing is proposed for.
type PolicyLearned struct {
	Rules  int      `json:"rules"`
	Rego   string   `json:"rego,omitempty"`
	Tests  string   `json:"tests,omitempty"`
	Config string   `json:"config,omitempty"`
	Left   []string `json:"left"`
}

// isWork reports whether an operation is what agents do while they work: what
// leaves a desk is looked at each time.
func isWork(op carrel.Operation) bool {
	return op != carrel.OpPublish && slices.Contains(carrel.AgentOperations, op)
}

// PolicyLearn proposes narrow rules, with their tests, for what the runs were
// refused, or asked about and a person allowed. It puts nothing in force: a person reads it and places it.
func (e *Records) PolicyLearn(ctx context.Context, opts PolicyLearnOptions) error {
	if len(opts.Runs) == 0 && !opts.Hooks {
		opts.Runs = []string{latestRun}
	}
	runs := make([]carrel.RunID, 0, len(opts.Runs))
	for _, name := range opts.Runs {
		run, err := e.runNamed(ctx, name)
		if err != nil {
			return err
		}
		if run == "" {
			return noRun(e.root(ctx))
		}
		runs = append(runs, run)
	}
	seen := 0
	var refused []policy.Refused
	var ratified []policy.Ratified
	for entry, err := range e.recordsOf(ctx, runs, opts.Hooks) {
		if err != nil {
			return err
		}
		seen++
		switch r := entry.Record; {
		case r.Kind == carrel.KindRefused:
			refused = append(refused, policy.Refused{Action: *r.Action, Decision: *r.Decision, Record: entry.Index, Times: 1 + r.Repeats})
		case r.Kind == carrel.KindIntent && r.Approval != nil && r.Approval.Granted && isWork(r.Action.Operation):
			ratified = append(ratified, policy.Ratified{Action: *r.Action, Decision: *r.Decision, By: r.Approval.By, At: r.Approval.Time, Record: entry.Index})
		}
	}
	switch {
	case seen == 0 && len(runs) == 0:
		return &hintError{errors.New("the log has nothing that a hook asked"), "carrel init registers the hooks of a client"}
	case seen == 0:
		return &hintError{fmt.Errorf("the log has nothing of %s", strings.Join(opts.Runs, ", ")), "carrel runs --all lists the runs"}
	case len(refused)+len(ratified) == 0:
		return &hintError{errors.New("nothing was refused there, or asked and allowed"), "carrel runs --all lists the runs; --hooks takes what hooks asked"}
	}
	learned, err := policy.Learn(refused, ratified)
	if err != nil {
		return err
	}
	switch {
	case opts.JSON && opts.Output == "":
		return encodeJSON(e.host.Stdout, PolicyLearned{learned.Rules, string(learned.Rego), string(learned.Table), string(learned.Config), append([]string{}, learned.Left...)})
	case opts.Output == "":
		return e.printLearned(learned)
	}
	return e.writeLearned(opts.Output, learned)
}

// recordsOf yields the records of several runs, run by run, and then those of
// what hooks asked.
func (e *Records) recordsOf(ctx context.Context, runs []carrel.RunID, hooks bool) iter.Seq2[audit.Entry, error] {
	reader := audit.OpenReader(e.state("log"))
	return func(yield func(audit.Entry, error) bool) {
		for _, run := range runs {
			for entry, err := range reader.Run(ctx, run) {
				if !yield(entry, err) || err != nil {
					return
				}
			}
		}
		if !hooks {
			return
		}
		for entry, err := range reader.From(ctx, 0) {
			if (err != nil || askedByHook(entry.Record)) && !yield(entry, err) || err != nil {
				return
			}
		}
	}
}

func (e *Records) printLearned(l policy.Learned) error {
	var b strings.Builder
	if len(l.Rego) > 0 {
		fmt.Fprintf(&b, "%s\n# Its tests:\n%s\n", l.Rego, l.Table)
	}
	if len(l.Config) > 0 {
		fmt.Fprintf(&b, "# To add to the configuration (%s):\n", e.host.Paths.UserConfig)
		for line := range strings.Lines(string(l.Config)) {
			b.WriteString("+" + line)
		}
	}
	for _, left := range l.Left {
		fmt.Fprintf(&b, "# nothing is proposed for %s\n", left)
	}
	_, err := e.host.Stdout.WriteString(terminal.EscapeText(b.String()))
	return err
}

func (e *Records) writeLearned(dir string, l policy.Learned) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	for _, f := range []struct {
		name string
		text []byte
	}{{"learned.rego", l.Rego}, {"learned_test.yaml", l.Table}, {"config.yaml", l.Config}} {
		if len(f.text) == 0 {
			continue
		}
		path := filepath.Join(dir, f.name)
		if err := writeOnce(path, f.text); err != nil {
			return err
		}
		fmt.Fprintln(e.host.Stdout, terminal.Escape(path))
	}
	for _, left := range l.Left {
		fmt.Fprintf(e.host.Stderr, "carrel: nothing is proposed for %s\n", terminal.Escape(left))
	}
	return nil
}
