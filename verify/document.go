package verify

import (
	"time"

	"github.com/carrel-dev/carrel"
)

// Document is what a policy at the merge is asked about: one checked set of
// attestations, with the commit it is of. Its JSON form is documented in
// spec/attestation.md.
type Document struct {
	Commit        *CommitDocument                 `json:"commit"` // null where no commit is looked at
	Repository    string                          `json:"repository"`
	Base          BaseDocument                    `json:"base"`
	Target        string                          `json:"target"`
	Run           string                          `json:"run"`
	Task          carrel.Text                     `json:"task"`
	Agent         AgentParameters                 `json:"agent"`
	Tier          string                          `json:"tier"`
	Controls      map[carrel.Control]carrel.Level `json:"controls"` // the worse answer where there are two
	Policy        carrel.Digest                   `json:"policy"`
	Grants        []carrel.Text                   `json:"grants"`
	Approvals     []ApprovalParameter             `json:"approvals"`
	TraceComplete bool                            `json:"trace_complete"`
	Lost          int64                           `json:"lost"`
	Files         int                             `json:"files"`
	Withheld      int                             `json:"withheld"`
	LeftOut       int                             `json:"left_out"`
	Risk          carrel.Severity                 `json:"risk"`
	Destinations  []Destination                   `json:"destinations"`
	Properties    []string                        `json:"properties"`
	Level         string                          `json:"level"`
	Started       time.Time                       `json:"started"`
	Finished      time.Time                       `json:"finished"`
	Attested      time.Time                       `json:"attested"`
	Log           LogDocument                     `json:"log"`
	Key           carrel.Digest                   `json:"key"`
}

// CommitDocument is a commit as git has it.
type CommitDocument struct {
	Name    string   `json:"name"`
	Tree    string   `json:"tree"`
	Parents []string `json:"parents"`
}

// BaseDocument is what the agent started from.
type BaseDocument struct {
	Ref    string `json:"ref"`
	Commit string `json:"commit"`
}

// LogDocument is where the attestation was announced.
type LogDocument struct {
	Origin string `json:"origin"`
	Index  int64  `json:"index"`
	Size   int64  `json:"size"`
	// Witnesses are the names of those who cosigned every checkpoint of the log
	// that was looked at, as far as the one who checks knows their keys; never
	// nil.
	Witnesses []string `json:"witnesses"`
}

// Document returns what a policy sees of the set. Cosignatures are not in the
// set: the caller adds who has witnessed the log.
func (s *Set) Document(commit *CommitDocument) (Document, error) {
	p := &s.Provenance
	in, first := p.Build.Internal, s.Attested[0]
	destinations, err := p.Destinations()
	if err != nil {
		return Document{}, err
	}
	d := Document{
		Commit: commit, Repository: p.Build.External.Target.Repository,
		Base:   BaseDocument{p.Build.External.Target.BaseRef, p.Build.External.Target.BaseCommit},
		Target: in.Change.Target, Run: p.Run.Metadata.Invocation, Task: p.Build.External.Task.Content,
		Agent: in.Agent, Tier: in.Sandbox.Tier, Controls: map[carrel.Control]carrel.Level{},
		Policy: in.Sandbox.Policy, Grants: in.Sandbox.Grants, Approvals: in.Approvals,
		TraceComplete: in.Sandbox.Complete, Lost: in.Sandbox.Lost,
		Files: in.Change.Files, Withheld: in.Change.Withheld, LeftOut: in.Change.Left, Risk: in.Change.Risk,
		Destinations: destinations, Properties: s.Verification.Properties, Level: in.Level.Level,
		Started: p.Run.Metadata.Started, Finished: p.Run.Metadata.Finished, Attested: first.Time,
		Log: LogDocument{first.Origin, first.Index, first.Size, []string{}}, Key: first.Key,
	}
	for _, c := range in.Sandbox.Controls {
		if before, twice := d.Controls[c.Control]; !twice || rank(c.Level) < rank(before) {
			d.Controls[c.Control] = c.Level
		}
	}
	return d, nil
}

func rank(l carrel.Level) int {
	switch l {
	case carrel.Enforced:
		return 2
	case carrel.Partly:
		return 1
	}
	return 0
}
