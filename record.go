package carrel

import "time"

// RecordVersion is the version of the record format (spec/record.md).
const RecordVersion = 1

// RecordKind says what a record is.
type RecordKind string

// The kinds of record.
const (
	KindRunStart    RecordKind = "run.start"
	KindRunEnd      RecordKind = "run.end"
	KindRefused     RecordKind = "refused"     // an action that was denied, or asked and not answered
	KindIntent      RecordKind = "intent"      // durable before the effect
	KindResult      RecordKind = "result"      // what became of an intent
	KindApproval    RecordKind = "approval"    // people's answer
	KindObservation RecordKind = "observation" // batched, with a count of what was lost
	KindChange      RecordKind = "change"      // a change was frozen
	KindLog         RecordKind = "log"         // about the log: created, recovered, rolled back, clock jump
)

// Outcome is how an effect ended.
type Outcome struct {
	Status string           `json:"status"`           // OutcomeDone, OutcomeFailed or OutcomeUnknown
	Error  Text             `json:"error,omitempty"`  // cut at 1,000 bytes
	Facts  map[string]Text  `json:"facts,omitempty"`  // e.g. address, commit
	Counts map[string]int64 `json:"counts,omitempty"` // e.g. bytes_out, exit_code
}

// Outcome statuses. An intent without a result is unknown, never done.
const (
	OutcomeDone    = "done"
	OutcomeFailed  = "failed"
	OutcomeUnknown = "unknown"
)

// Record is one entry of the log. It is stored and hashed as its canonical
// encoding. The log fills in ID, Version, Time, Boot and RunSeq.
type Record struct {
	Version int        `json:"v"`
	ID      RecordID   `json:"id"`
	Kind    RecordKind `json:"kind"`
	Time    time.Time  `json:"time"`    // wall clock, UTC
	Boot    int64      `json:"boot_us"` // CLOCK_BOOTTIME in microseconds, 0 where there is none
	Run     RunID      `json:"run,omitempty"`
	RunSeq  int64      `json:"run_seq,omitempty"` // 1, 2, … without a hole from run.start to run.end

	Action       *Action          `json:"action,omitempty"`
	ActionDigest Digest           `json:"action_digest,omitempty"`
	Decision     *Decision        `json:"decision,omitempty"`
	Approval     *Approval        `json:"approval,omitempty"`
	Outcome      *Outcome         `json:"outcome,omitempty"`
	Repeats      int64            `json:"repeats,omitempty"` // refused, observation: how often the same happened again since the last record
	RunInfo      *RunInfo         `json:"run_info,omitempty"`
	Change       *ChangeRef       `json:"change,omitempty"`
	Note         Text             `json:"note,omitempty"`
	Counts       map[string]int64 `json:"counts,omitempty"`
}

// RunInfo describes a run in its first and last record.
type RunInfo struct {
	Agent       string        `json:"agent,omitempty"`
	Command     []Text        `json:"command,omitempty"`
	Program     Digest        `json:"program,omitempty"` // of the agent's executable
	User        string        `json:"user,omitempty"`    // "uid:name"
	Workspace   Text          `json:"workspace,omitempty"`
	Desk        DeskID        `json:"desk,omitempty"`
	BaseCommit  string        `json:"base_commit,omitempty"`
	Policy      Digest        `json:"policy,omitempty"`
	Tier        string        `json:"tier,omitempty"`
	Enforcement []Enforcement `json:"enforcement,omitempty"`
	Grants      []string      `json:"grants,omitempty"` // what was handed over, one line each
	Version     string        `json:"carrel,omitempty"`
	ExitCode    int           `json:"exit_code"`
	Records     int64         `json:"records,omitempty"` // run.end: how many records the run has, itself included
	Lost        int64         `json:"lost"`              // observations that were dropped
}

// ChangeRef names a frozen change in the content store.
type ChangeRef struct {
	ID       ChangeID `json:"id"`
	Digest   Digest   `json:"digest"`   // Change.Digest
	Manifest Digest   `json:"manifest"` // of the stored manifest
}
