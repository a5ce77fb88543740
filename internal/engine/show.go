//go:build linux

package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// Show prints one run, or the newest of this workspace.
func (e *Engine) Show(ctx context.Context, id string, opts ShowOptions) error {
	r, err := e.findRun(ctx, id)
	if err != nil {
		return err
	}
	if opts.Denials {
		return e.showDenials(r, opts.JSON)
	}
	e.refresh(ctx, r)
	if opts.JSON {
		return e.printJSON(r.listed())
	}
	e.showRun(r)
	return nil
}

// showDenials prints what was refused in a run, and what of it was odd.
func (e *Engine) showDenials(r *RunResult, asJSON bool) error {
	if asJSON {
		return e.printJSON(map[string]any{"run": r.Run, "denials": listed(r.Denials), "findings": listed(r.Findings)})
	}
	if len(r.Denials)+len(r.Findings) == 0 {
		_, err := fmt.Fprintf(e.host.Stdout, "nothing was refused in %s\n", r.Run)
		return err
	}
	for _, n := range r.Denials {
		if _, err := fmt.Fprintf(e.host.Stdout, "%d× %s\n", n.Count, n.line()); err != nil {
			return err
		}
	}
	for _, f := range r.Findings {
		if _, err := fmt.Fprintf(e.host.Stdout, "finding %s: %s\n", f.Name, f.What); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) findRun(ctx context.Context, id string) (*RunResult, error) {
	if !isLatest(id) {
		return e.loadRun(carrel.RunID(id))
	}
	ws, err := e.workspaceAt(ctx, "")
	if err != nil {
		return nil, err
	}
	ids, err := e.listRuns()
	if err != nil {
		return nil, err
	}
	if run := e.newestIn(ids, ws.Root()); run != "" {
		return e.loadRun(run)
	}
	return nil, noRun(ws.Root())
}

func (e *Engine) showRun(r *RunResult) {
	w := e.host.Stdout
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	line("%s  %s", r.Run, terminal.Escape(r.commandLine(200)))
	line("  agent %s at desk %s in %s", r.Agent, r.Desk, terminal.Escape(string(r.Workspace)))
	switch started := r.Started.Local().Format(time.DateTime); {
	case r.State == RunEnded && r.ExitCode != nil:
		line("  started %s, took %s, exit %d", started, r.Ended.Sub(r.Started).Round(time.Millisecond), *r.ExitCode)
	case r.State == RunKilled:
		line("  started %s; killed, with its supervisor", started)
	default:
		line("  started %s; it goes on", started)
	}
	line("  base %s, policy %s, log %d records", orNone(r.Base.Commit), r.Policy.Short(), r.Log.Size)
	if c := r.Change; c != nil {
		line("  change %s: %s, %d withheld, risk %s, %s, digest %s", c.ID, countFiles(c.Files), c.Withheld, c.Risk.Level, c.State, c.Digest.Short())
	}
	line("walls (%s)", r.Tier)
	for _, en := range r.Enforcement {
		line("  %-10s %-9s %s", en.Control, en.Level, terminal.Escape(en.How))
	}
	for _, title := range []struct {
		name  string
		lines []string
	}{{"handed over", r.Grants}, {"notes", r.Warnings}} {
		for i, l := range title.lines {
			if i == 0 {
				line("%s", title.name)
			}
			line("  %s", terminal.Escape(l))
		}
	}
	for i, n := range r.Denials {
		if i == 0 {
			line("refused")
		}
		line("  %d× %s", n.Count, n.line())
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s[:min(12, len(s))]
}
