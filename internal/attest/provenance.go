package attest

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/verify"
)

func (f *Facts) provenance() (verify.Provenance, error) {
	var p verify.Provenance
	o := f.Observed
	p.Build.BuildType = verify.BuildType
	p.Build.External.Task.URI = fmt.Sprintf(runURI, o.Run)
	p.Build.External.Task.Content = commandLine(o.Info.Command)
	p.Build.External.Target = verify.Target{Repository: f.Repository, BaseRef: f.Change.Base.Branch, BaseCommit: f.Change.Base.Commit}
	p.Build.Internal = f.internal()
	p.Build.Dependencies = f.dependencies()
	p.Run.Builder.ID = fmt.Sprintf(builderURI, o.Info.Tier)
	p.Run.Builder.Version = map[string]string{"carrel": f.Version}
	p.Run.Metadata.Invocation = string(o.Run)
	p.Run.Metadata.Started, p.Run.Metadata.Finished = o.Started, f.finished()
	var err error
	p.Run.Byproducts, err = f.byproducts()
	return p, err
}

// finished is when the run ended, or, while it goes on, when it was looked at.
func (f *Facts) finished() time.Time {
	if f.Observed.Ended.IsZero() {
		return f.Now
	}
	return f.Observed.Ended
}

func (f *Facts) internal() verify.InternalParameters {
	o := f.Observed
	incomplete := o.Incomplete()
	target, left := verify.TargetNone, int64(0)
	if o.Publication != nil {
		target, left = o.Target, o.Publication.Record.Outcome.Counts["left_out"]
	}
	in := verify.InternalParameters{
		Agent: verify.AgentParameters{Name: o.Info.Agent, Runtime: o.Info.Version, Program: o.Info.Program, User: o.Info.User},
		Sandbox: verify.SandboxParameters{
			Tier: o.Info.Tier, Policy: o.Info.Policy, Controls: append([]carrel.Enforcement{}, o.Info.Enforcement...),
			Grants: []carrel.Text{}, Complete: incomplete == "", Lost: o.Info.Lost, Reason: incomplete,
		},
		Change: verify.ChangeParameters{
			ID: f.Change.ID, Digest: f.Digest, Manifest: f.Manifest, Target: target, Branch: carrel.Text(f.fact("branch")),
			Files: len(f.Change.Files), Left: int(left), Withheld: len(f.Change.Withheld), Risk: f.Change.Risk.Level,
		},
		Approvals: []verify.ApprovalParameter{},
		Level:     verify.LevelClaim{Level: levelClaim, Why: levelReason},
	}
	for _, g := range o.Info.Grants {
		in.Sandbox.Grants = append(in.Sandbox.Grants, carrel.Text(g))
	}
	if a := o.Approval; a != nil {
		in.Approvals = append(in.Approvals, verify.ApprovalParameter{By: a.By, Time: a.Time, Action: a.Action, Reason: a.Reason, Terminal: a.Terminal})
	}
	return in
}

func (f *Facts) dependencies() []verify.Resource {
	o := f.Observed
	var out []verify.Resource
	if base := f.Change.Base.Commit; base != "" {
		out = append(out, verify.Resource{Name: "base", URI: f.Repository, Digest: map[string]string{verify.DigestCommit: base}})
	}
	out = append(out, f.policy())
	if o.Info.Program != "" {
		out = append(out, verify.Resource{Name: "agent", Digest: map[string]string{verify.DigestSHA256: o.Info.Program.Hex()}})
	}
	return out
}

// policy names the policy that was in force.
func (f *Facts) policy() verify.Resource {
	d := f.Observed.Info.Policy
	return verify.Resource{Name: "policy", URI: fmt.Sprintf(policyURI, d.Hex()), Digest: map[string]string{verify.DigestSHA256: d.Hex()}}
}

func (f *Facts) byproducts() ([]verify.Resource, error) {
	o := f.Observed
	network, err := listing(verify.ByproductNetwork, o.Destinations, map[string]any{"lost": o.Info.Lost, "omitted": o.Omitted})
	if err != nil {
		return nil, err
	}
	process, err := listing(verify.ByproductProcess, o.Processes, map[string]any{
		"scope": "the agent's own start; programs it started inside its walls are not recorded one by one",
	})
	if err != nil {
		return nil, err
	}
	files := verify.Resource{
		Name: verify.ByproductFilesystem, Digest: map[string]string{verify.DigestSHA256: f.Manifest.Hex()},
		Annotations: map[string]any{"files": len(f.Change.Files), "withheld": len(f.Change.Withheld), "reads": "not recorded"},
	}
	checkpoint := verify.Resource{
		Name: verify.ByproductCheckpoint, MediaType: "text/plain", Content: f.Checkpoint,
		Digest:      map[string]string{verify.DigestSHA256: carrel.DigestBytes(f.Checkpoint).Hex()},
		Annotations: map[string]any{"key": f.LogKey, "size": f.Size, "root": base64.StdEncoding.EncodeToString(f.Root[:])},
	}
	newest := o.Head
	if o.Publication != nil {
		newest = o.Publication
	}
	record := verify.Resource{
		Name: verify.ByproductRecord, MediaType: "application/json", Digest: map[string]string{verify.DigestSHA256: carrel.DigestBytes(newest.Raw).Hex()},
		Annotations: map[string]any{"index": newest.Index, "id": string(newest.Record.ID)},
	}
	return []verify.Resource{network, process, files, checkpoint, record}, nil
}

// listing is a by-product that carries what it lists.
func listing[T any](name string, list []T, annotations map[string]any) (verify.Resource, error) {
	if list == nil {
		list = []T{}
	}
	content, err := carrel.Canonical(list)
	if err != nil {
		return verify.Resource{}, fmt.Errorf("encoding %s: %w", name, err)
	}
	return verify.Resource{
		Name: name, MediaType: "application/json", Content: content,
		Digest: map[string]string{verify.DigestSHA256: carrel.DigestBytes(content).Hex()}, Annotations: annotations,
	}, nil
}
