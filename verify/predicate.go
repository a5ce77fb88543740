package verify

import (
	"time"

	"github.com/carrel-dev/carrel"
)

// BuildType says how to read the parameters of a Provenance.
const BuildType = "https://github.com/carrel-dev/carrel/agent-run/v1"

// Provenance is the SLSA provenance of an applied change (spec/attestation.md).
type Provenance struct {
	Build BuildDefinition `json:"buildDefinition"`
	Run   RunDetails      `json:"runDetails"`
}

// BuildDefinition says what was asked for, under what, from what.
type BuildDefinition struct {
	BuildType    string             `json:"buildType"`
	External     ExternalParameters `json:"externalParameters"`
	Internal     InternalParameters `json:"internalParameters"`
	Dependencies []Resource         `json:"resolvedDependencies"`
}

// ExternalParameters are what the user asked for.
type ExternalParameters struct {
	Task struct {
		URI     string      `json:"uri"`     // the run
		Content carrel.Text `json:"content"` // the command line, words quoted where they need it
	} `json:"task"`
	Target Target `json:"target"`
}

// Target is what the change was made against.
type Target struct {
	Repository string `json:"repository"` // where it was cloned from, without credentials; else its first commit
	BaseRef    string `json:"baseRef"`
	BaseCommit string `json:"baseCommit"`
}

// InternalParameters are what Carrel set.
type InternalParameters struct {
	Agent     AgentParameters     `json:"agent"`
	Sandbox   SandboxParameters   `json:"sandboxPolicy"`
	Change    ChangeParameters    `json:"change"`
	Approvals []ApprovalParameter `json:"approvals"`
	Level     LevelClaim          `json:"slsaLevel"`
}

// AgentParameters describe the program that worked.
type AgentParameters struct {
	Name    string        `json:"name"`
	Runtime string        `json:"runtime"` // the Carrel that ran it
	Program carrel.Digest `json:"program,omitempty"`
	User    string        `json:"user"` // of the host
}

// SandboxParameters are the walls: what was in force, not what was asked for.
type SandboxParameters struct {
	Tier     string               `json:"tier"`
	Policy   carrel.Digest        `json:"policy"`
	Controls []carrel.Enforcement `json:"controls"`
	Grants   []carrel.Text        `json:"grants"` // what was handed over, one line each
	Complete bool                 `json:"traceComplete"`
	Lost     int64                `json:"lost"` // observations that were dropped
	Reason   string               `json:"incompleteBecause,omitempty"`
}

// TargetNone says that a change was not applied.
const TargetNone = "none"

// ChangeParameters name the change that was published.
type ChangeParameters struct {
	ID       carrel.ChangeID `json:"id"`
	Digest   carrel.Digest   `json:"digest"`
	Manifest carrel.Digest   `json:"manifest"`
	Target   string          `json:"target"` // carrel.TargetTree, carrel.TargetBranch or TargetNone
	Branch   carrel.Text     `json:"branch,omitempty"`
	Files    int             `json:"files"`
	Left     int             `json:"leftOut"`  // files of the change that no commit holds
	Withheld int             `json:"withheld"` // files that policy denied, and that are not in it
	Risk     carrel.Severity `json:"risk"`
}

// ApprovalParameter is one person's yes.
type ApprovalParameter struct {
	By       string        `json:"by"`
	Time     time.Time     `json:"time"`
	Action   carrel.Digest `json:"action"`
	Reason   carrel.Text   `json:"reason,omitempty"`
	Terminal bool          `json:"terminal"`
}

// LevelClaim is the SLSA level that is claimed, and why not more.
type LevelClaim struct {
	Level string `json:"level"`
	Why   string `json:"why"`
}

// RunDetails say who did it, when, and what else came of it.
type RunDetails struct {
	Builder struct {
		ID      string            `json:"id"`
		Version map[string]string `json:"version"`
	} `json:"builder"`
	Metadata struct {
		Invocation string    `json:"invocationId"`
		Started    time.Time `json:"startedOn"`
		Finished   time.Time `json:"finishedOn"`
	} `json:"metadata"`
	Byproducts []Resource `json:"byproducts"`
}

// Names of the by-products of a Provenance.
const (
	ByproductNetwork    = "observed-network"
	ByproductProcess    = "observed-process"
	ByproductFilesystem = "observed-filesystem"
	ByproductCheckpoint = "log-checkpoint"
	ByproductRecord     = "log-record"
)

// Trace is an in-toto runtime trace: what was seen of a run from outside.
type Trace struct {
	Monitor struct {
		Type   string         `json:"type"`
		Config Resource       `json:"configSource"`
		Policy map[string]any `json:"tracePolicy"`
	} `json:"monitor"`
	Process struct {
		Host string `json:"hostID"`
		Type string `json:"type"`
		Job  string `json:"event"` // the run
	} `json:"monitoredProcess"`
	Log struct {
		Process []TracedProcess `json:"process"`
		Network []Destination   `json:"network"`
		Files   []Resource      `json:"fileAccess"`
	} `json:"monitorLog"`
	Metadata struct {
		Started  time.Time `json:"buildStartedOn"`
		Finished time.Time `json:"buildFinishedOn"`
	} `json:"metadata"`
}

// TracedProcess is a program whose start was decided.
type TracedProcess struct {
	Path    string         `json:"path"`
	Argv    []carrel.Text  `json:"argv"`
	Verdict carrel.Verdict `json:"verdict"`
}

// Destination is what a run reached, or was refused, with how often.
type Destination struct {
	Operation carrel.Operation `json:"operation"`
	Host      string           `json:"host"`
	Port      int              `json:"port,omitempty"`
	Protocol  carrel.Protocol  `json:"protocol,omitempty"`
	Allowed   int64            `json:"allowed"`
	Refused   int64            `json:"refused"`
}

// Result is an in-toto simple verification result: what the gate enforced.
type Result struct {
	Verifier struct {
		ID       string     `json:"id"`
		Policies []Resource `json:"policies"`
	} `json:"verifier"`
	Time       time.Time `json:"timeCreated"`
	Properties []string  `json:"properties"`
}

// Properties of a Result. What is not listed was not so, or is not known.
const (
	PropertyTraceComplete = "COWORK_TRACE_COMPLETE" // every record of the run is there, and nothing was dropped
	PropertyApproved      = "COWORK_HUMAN_APPROVED" // a person approved exactly this change
	PropertyNothingDenied = "COWORK_NO_DENIED_FILE" // policy withheld no file of the change
	PropertyLevel1        = "SLSA_BUILD_LEVEL_1"
	PropertyTier          = "COWORK_TIER_"     // followed by the tier in capitals
	PropertyEnforced      = "COWORK_ENFORCED_" // followed by the control in capitals
)

// Evidence is the predicate of a pack's manifest.
type Evidence struct {
	Run     carrel.RunID    `json:"run"`
	Change  carrel.ChangeID `json:"change,omitempty"`
	Created time.Time       `json:"created"`
	Log     string          `json:"log"` // public key of the log
}
