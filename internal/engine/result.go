//go:build linux

package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/private"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// runVersion is the version of RunResult's format.
const runVersion = 1

// RunResult is what is kept of a run, printed by show, and written by
// --result.
type RunResult struct {
	Version     int                  `json:"v"`
	Run         carrel.RunID         `json:"run"`
	Agent       string               `json:"agent"`
	Command     []carrel.Text        `json:"command"`
	Workspace   carrel.Text          `json:"workspace"`
	Desk        carrel.DeskID        `json:"desk"`
	Base        carrel.Base          `json:"base"`
	Started     time.Time            `json:"started"`
	Ended       time.Time            `json:"ended,omitzero"`
	State       string               `json:"state"`               // RunRuns, RunEnded or RunKilled
	ExitCode    *int                 `json:"exit_code,omitempty"` // of a run that has ended
	EndedBy     string               `json:"ended_by,omitempty"`  // the wall that ended it: wall, memory, disk, supervisor
	Tier        string               `json:"tier"`
	Staging     workspace.Staging    `json:"staging"`
	Enforcement []carrel.Enforcement `json:"enforcement"`
	Policy      carrel.Digest        `json:"policy"`
	Grants      []string             `json:"grants"` // what was handed over
	Warnings    []string             `json:"warnings"`
	Change      *ChangeSummary       `json:"change"` // null: nothing was changed
	Denials     []Denial             `json:"denials"`
	Findings    []Finding            `json:"findings,omitempty"` // what among them was odd
	Traffic     map[string]int64     `json:"traffic"`
	Commands    map[string]int64     `json:"commands,omitempty"`    // executed inside, refused, and not read whole
	PeakMemory  int64                `json:"peak_memory,omitempty"` // bytes
	Log         LogHead              `json:"log"`

	// PolicyFiles are the Rego sources that --policy added to this run, in
	// the content store: they decide about its change as well.
	PolicyFiles []policyFile `json:"policy_files,omitempty"`
}

// listed is the result as others read it: an empty list where there is nothing.
func (r *RunResult) listed() *RunResult {
	out := *r
	out.Grants, out.Warnings, out.Denials = listed(r.Grants), listed(r.Warnings), listed(r.Denials)
	return &out
}

// The states of a run. A killed one has no exit code: its supervisor is gone,
// and nobody saw how the agent ended.
const (
	RunRuns   = "running"
	RunEnded  = "ended"
	RunKilled = "killed"
)

// ChangeSummary is a change as the result of its run shows it.
type ChangeSummary struct {
	ID       carrel.ChangeID       `json:"id"`
	Digest   carrel.Digest         `json:"digest"`
	State    workspace.ChangeState `json:"state"`
	Files    int                   `json:"files"`
	Withheld int                   `json:"withheld"`
	Risk     carrel.Risk           `json:"risk"`
}

// LogHead is the size and root of the log when the run had ended.
type LogHead struct {
	Size int64  `json:"size"`
	Root string `json:"root"` // base64, as in checkpoints
}

type policyFile struct {
	Layer  string        `json:"layer"`
	Name   string        `json:"name"`
	Digest carrel.Digest `json:"digest"`
}

// saveRun keeps the result where runs and show find it.
func (e *Engine) saveRun(r *RunResult) error {
	if err := os.MkdirAll(e.state("runs"), 0o700); err != nil {
		return fmt.Errorf("keeping the run: %w", err)
	}
	return writeJSON(e.runFile(r.Run), r)
}

// writeJSON replaces path by v, so that a reader sees the old or the new.
func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := private.ReplaceSoon(path, append(b, '\n')); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// loadRun reads a run by its id.
func (e *Engine) loadRun(id carrel.RunID) (*RunResult, error) {
	if err := checkID(string(id), "run_"); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(e.runFile(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &hintError{fmt.Errorf("there is no run %s", id), "see `carrel runs --all`"}
	}
	if err != nil {
		return nil, fmt.Errorf("reading run: %w", err)
	}
	var r RunResult
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("reading %s: %w", e.runFile(id), err)
	}
	if r.Version != runVersion {
		return nil, fmt.Errorf("run %s was %w (format %d, this one knows %d)", id, workspace.ErrOtherVersion, r.Version, runVersion)
	}
	if !r.Ended.IsZero() {
		r.State = RunEnded
	}
	return &r, nil
}
