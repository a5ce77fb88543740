//go:build linux

package engine

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/sandbox"
)

// end takes the change, closes the run in the log and tells the user. cause is
// what went wrong so far, if anything did.
func (v *visit) end(ctx context.Context, g *gate.Gate, door *egress.Door, exit sandbox.Exit, cause error) (int, error) {
	// What follows must happen however the run ended, Ctrl-C included; only
	// the questions at its end are the user's to break off.
	asking := ctx
	ctx = context.WithoutCancel(ctx)
	v.result.Ended, v.result.State, v.result.ExitCode = time.Now().UTC(), RunEnded, &exit.Code
	v.result.EndedBy, v.result.PeakMemory = exit.Cause, exit.PeakMemory
	v.result.Traffic, v.result.Commands = door.Counts(), v.commands.counts()
	if v.policyKept != nil {
		v.result.Warnings = append(v.result.Warnings, "the text of the policy could not be kept for evidence: "+v.policyKept.Error())
	}
	var start *sandbox.StartError
	if errors.As(cause, &start) {
		v.result.ExitCode = &start.Code
	}
	change, err := v.takeChange(ctx, g, cause)
	cause = errors.Join(cause, err)
	cause = errors.Join(cause, g.Flush(ctx), v.commands.finish(ctx), v.findings.close(), v.closeRecord(ctx))
	v.result.Denials, v.result.Findings = v.denials.list(), v.findings.all()
	signed := later(func() error { return v.signLog(ctx, g) })
	cause = errors.Join(cause, v.keep(), signed(), v.seat.Saved())
	v.attestApplied(ctx, g)
	v.summarise(change)
	v.learn(ctx)
	if change != nil && cause == nil {
		cause = v.after(ctx, asking, g, *change)
	}
	if cause != nil && *v.result.ExitCode == 0 {
		return 125, cause
	}
	return *v.result.ExitCode, cause
}

// learn proposes, where the user asked for it, what would have allowed what the
// run was refused. That it cannot is said and changes nothing.
func (v *visit) learn(ctx context.Context) {
	if !v.opts.Learn {
		return
	}
	host := v.e.host
	host.Stdout = host.Stderr // the other is the agent's
	records := Records{host}
	if err := records.PolicyLearn(ctx, PolicyLearnOptions{Runs: []string{string(v.id)}}); err != nil {
		fmt.Fprintf(host.Stderr, "carrel: --learn: %v\n", err)
	}
}

// takeChange freezes what the desk would alter. A run that never started has
// nothing new, and what was there stays as it is.
func (v *visit) takeChange(ctx context.Context, g *gate.Gate, cause error) (*selected, error) {
	var start *sandbox.StartError
	if errors.As(cause, &start) {
		return nil, nil
	}
	change, err := v.capture(ctx, g, false)
	if err != nil {
		return nil, fmt.Errorf("taking the change: %w", err)
	}
	if len(change.Files)+len(change.Withheld) == 0 {
		return nil, nil
	}
	entry, err := v.ws.Change(change.ID)
	if err != nil {
		return nil, fmt.Errorf("taking the change: %w", err)
	}
	v.result.Change = &ChangeSummary{
		ID: change.ID, Digest: entry.Digest, State: entry.State,
		Files: len(change.Files), Withheld: len(change.Withheld), Risk: change.Risk,
	}
	ref := carrel.ChangeRef{ID: change.ID, Digest: entry.Digest, Manifest: entry.Manifest}
	err = v.log.Enqueue(ctx, carrel.Record{Kind: carrel.KindChange, Run: v.id, Change: &ref})
	return &selected{v.ws, entry, change}, err
}

func (v *visit) startRecord() carrel.Record {
	info := v.info()
	return carrel.Record{Kind: carrel.KindRunStart, Run: v.id, RunInfo: &info}
}

// info describes the run for its first and last record.
func (v *visit) info() carrel.RunInfo {
	return carrel.RunInfo{
		Agent: v.profile.Name, Command: v.result.Command, User: v.e.host.User,
		Workspace: v.result.Workspace, Desk: v.result.Desk, BaseCommit: v.result.Base.Commit,
		Policy: v.result.Policy, Tier: v.result.Tier, Grants: v.result.Grants, Version: v.e.host.Version, Program: v.program,
	}
}

// closeRecord ends the run in the log, with what was in force and what was
// counted.
func (v *visit) closeRecord(ctx context.Context) error {
	info := v.info()
	info.ExitCode, info.Enforcement = *v.result.ExitCode, v.result.Enforcement
	info.Lost = v.result.Traffic["refused_untold"] + v.result.Commands["executions_unread"]
	counts := map[string]int64{}
	maps.Copy(counts, v.result.Traffic)
	maps.Copy(counts, v.result.Commands)
	err := v.log.Append(ctx, carrel.Record{Kind: carrel.KindRunEnd, Run: v.id, RunInfo: &info, Counts: counts})
	size, root := v.log.Head()
	v.result.Log = LogHead{size, base64.StdEncoding.EncodeToString(root[:])}
	return err
}

// signLog signs where the log stands. That it lacks cosignatures is told: the
// run has ended, and nothing is published by that.
func (v *visit) signLog(ctx context.Context, g *gate.Gate) error {
	_, lacking, err := v.e.checkpointBy(ctx, v.settings, g, v.log)
	if err != nil {
		return fmt.Errorf("signing the log: %w", err)
	}
	v.e.tellUnwitnessed(lacking)
	return nil
}

// keep writes the run's result where show finds it, and where --result says.
func (v *visit) keep() error {
	if err := v.e.saveRun(&v.result); err != nil {
		return err
	}
	if v.opts.Result == "" {
		return nil
	}
	return writeResult(v.opts.Result, v.result.listed())
}

// writeResult replaces a file, and writes into what is no file, such as a
// pipe.
func writeResult(path string, r *RunResult) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("--result: %w", err)
		}
		return errors.Join(encodeJSON(f, r), f.Close())
	}
	if err := writeJSON(path, r); err != nil {
		return fmt.Errorf("--result: %w", err)
	}
	return nil
}
