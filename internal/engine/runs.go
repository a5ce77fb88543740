//go:build linux

package engine

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// Runs lists runs of this workspace, or of all, newest first.
func (e *Engine) Runs(ctx context.Context, opts RunsOptions) error {
	ids, err := e.listRuns()
	if err != nil {
		return err
	}
	root := ""
	if !opts.All {
		ws, err := e.workspaceAt(ctx, "")
		if err != nil {
			return &hintError{err, "use --all to list the runs of every workspace"}
		}
		root = ws.Root()
	}
	table := tabwriter.NewWriter(e.host.Stdout, 0, 0, 2, ' ', 0)
	for _, id := range ids {
		r, err := e.loadRun(id)
		if err != nil { // one that cannot be read hides no other
			fmt.Fprintf(e.host.Stderr, "carrel: %s\n", terminal.EscapeText(err.Error()))
			continue
		}
		if root != "" && string(r.Workspace) != root {
			continue
		}
		e.refresh(ctx, r)
		if opts.JSON {
			err = e.printLine(r)
		} else {
			_, err = fmt.Fprintln(table, r.row())
		}
		if err != nil {
			return err
		}
	}
	return table.Flush()
}

// refresh brings the change's state up to date: it may have been applied
// since.
func (e *Engine) refresh(ctx context.Context, r *RunResult) {
	if r.Change == nil {
		return
	}
	ws, err := e.workspaceAt(ctx, string(r.Workspace))
	if err != nil {
		return // the workspace is gone; what was known stays
	}
	if entry, err := ws.Change(r.Change.ID); err == nil {
		r.Change.State = entry.State
	}
}

func (r *RunResult) row() string {
	change := "no change"
	if c := r.Change; c != nil {
		change = fmt.Sprintf("%s, %s, %s", countFiles(c.Files), c.Risk.Level, c.State)
	}
	ended := fmt.Sprintf("exit %d", r.ExitCode)
	if r.Ended.IsZero() {
		ended = "not ended"
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s", r.Run, r.Started.Local().Format(time.DateTime), r.Agent, ended, change, terminal.Escape(r.commandLine(60)))
}

// commandLine is the command for people, cut at max characters.
func (r *RunResult) commandLine(max int) string {
	words := make([]string, len(r.Command))
	for i, w := range r.Command {
		words[i] = string(w)
	}
	line := []rune(strings.Join(words, " "))
	if len(line) > max {
		return string(line[:max-1]) + "…"
	}
	return string(line)
}

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
		return e.printJSON(r)
	}
	e.showRun(r)
	return nil
}

// showDenials prints what was refused in a run, and what of it was odd.
func (e *Engine) showDenials(r *RunResult, asJSON bool) error {
	if asJSON {
		return e.printJSON(map[string]any{"run": r.Run, "denials": r.Denials, "findings": r.Findings})
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
	if id != "" && id != "latest" {
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
	for _, id := range ids {
		if r, err := e.loadRun(id); err == nil && string(r.Workspace) == ws.Root() {
			return r, nil
		}
	}
	return nil, &hintError{fmt.Errorf("there is no run in %s", ws.Root()), "carrel run -- COMMAND"}
}

func (e *Engine) showRun(r *RunResult) {
	w := e.host.Stdout
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	line("%s  %s", r.Run, terminal.Escape(r.commandLine(200)))
	line("  agent %s at desk %s in %s", r.Agent, r.Desk, terminal.Escape(string(r.Workspace)))
	if r.Ended.IsZero() {
		line("  started %s; it goes on, or was killed", r.Started.Local().Format(time.DateTime))
	} else {
		line("  started %s, took %s, exit %d", r.Started.Local().Format(time.DateTime), r.Ended.Sub(r.Started).Round(time.Millisecond), r.ExitCode)
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

// Pending lists the actions that wait for an answer, and the changes of this
// workspace that do.
func (e *Engine) Pending(ctx context.Context, asJSON bool) error {
	if err := e.PendingActions(asJSON); err != nil {
		return err
	}
	ws, err := e.workspaceAt(ctx, "")
	if err != nil {
		return err
	}
	all, err := ws.Changes()
	if err != nil {
		return err
	}
	for _, entry := range all {
		if entry.State != workspace.ChangePending {
			continue
		}
		if asJSON {
			err = e.printLine(entry)
		} else {
			_, err = fmt.Fprintf(e.host.Stdout, "%s  digest %s  taken %s  by %s\n", entry.ID, entry.Digest.Short(), entry.Taken.Local().Format(time.DateTime), entry.Run)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Discard throws the work at a desk away.
func (e *Engine) Discard(ctx context.Context, sel Selection, opts DiscardOptions) error {
	s, err := e.find(ctx, sel, (*workspace.Workspace).LatestChange)
	if err != nil {
		if done, unseen := e.discardUntaken(ctx, sel, opts); done || unseen != nil {
			return unseen
		}
		return err
	}
	if err := s.mustBePending(); err != nil {
		return err
	}
	if err := e.confirmDiscard(ctx, opts, countFiles(len(s.change.Files))+" of "+string(s.entry.ID), s.ws); err != nil {
		return err
	}
	op, err := e.operator(ctx, s.change.Run)
	if err != nil {
		return err
	}
	seat, err := s.ws.Desk(s.entry.Desk)
	if err != nil {
		return err
	}
	defer seat.Close()
	if seat.Busy() {
		return &hintError{workspace.ErrDeskBusy, "wait until the run has ended, or end it"}
	}
	if err := discard(ctx, op, seat); err != nil {
		return err
	}
	if opts.JSON {
		return e.printJSON(map[string]any{"change": s.entry.ID, "state": workspace.ChangeDiscarded})
	}
	fmt.Fprintf(e.host.Stdout, "discarded %s: %s\n", s.entry.ID, countFiles(len(s.change.Files)))
	return nil
}
