//go:build linux

package engine

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

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
			err = e.printLine(r.listed())
		} else {
			_, err = fmt.Fprintln(table, r.row())
		}
		if err != nil {
			return err
		}
	}
	return table.Flush()
}

// refresh brings up to date what may have happened since: the change was
// applied, the run was killed.
func (e *Engine) refresh(ctx context.Context, r *RunResult) {
	if r.Change == nil && !r.Ended.IsZero() {
		return
	}
	ws, err := e.workspaceAt(ctx, string(r.Workspace))
	if err != nil {
		return // the workspace is gone; what was known stays
	}
	if r.Change != nil {
		if entry, err := ws.Change(r.Change.ID); err == nil {
			r.Change.State = entry.State
		}
	}
	if r.Ended.IsZero() && !e.sits(ws, r) {
		r.State = RunKilled
	}
}

// sits reports whether the supervisor of a run holds its desk. It does until
// the run has ended, and the lock goes with it however it dies.
func (e *Engine) sits(ws *workspace.Workspace, r *RunResult) bool {
	seat, err := ws.Desk(r.Desk)
	if err != nil {
		return false
	}
	defer seat.Close()
	last, err := e.runAt(r.Desk)
	return seat.Busy() && err == nil && last != nil && last.Run == r.Run
}

func (r *RunResult) row() string {
	change := "no change"
	if c := r.Change; c != nil {
		change = fmt.Sprintf("%s, %s, %s", countFiles(c.Files), c.Risk.Level, c.State)
	}
	ended := r.State
	if r.ExitCode != nil && r.State == RunEnded {
		ended = fmt.Sprintf("exit %d", *r.ExitCode)
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
