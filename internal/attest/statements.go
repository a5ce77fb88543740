package attest

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/git/quote"
	"github.com/carrel-dev/carrel/verify"
)

// URIs of what these statements come from. The last part is the version: it
// changes when they mean something else.
const (
	builderURI  = "https://github.com/carrel-dev/carrel/builder/%s/v1" // of a tier
	monitorURI  = "https://github.com/carrel-dev/carrel/monitor/%s/v1"
	gateURI     = "https://github.com/carrel-dev/carrel/gate/v1"
	hostURI     = "urn:carrel:log:%s"    // of a log's origin
	runURI      = "urn:carrel:run:%s"    // of a run
	policyURI   = "urn:carrel:policy:%s" // of a policy's digest
	patchName   = "change.patch"
	noTarget    = "none"
	levelClaim  = "SLSA_BUILD_LEVEL_1"
	levelReason = "It was made on the machine of the user who ran the agent, and signed with that user's key: whoever controls the machine " +
		"could claim anything. The agent could not: it runs behind the walls listed as controls, without the key and the log. " +
		"A higher level needs a builder that the user does not control."
)

// Facts are everything the statements about one change are derived from.
type Facts struct {
	Observed *Observed
	Change   *carrel.Change
	Digest   carrel.Digest // Change.Digest
	Manifest carrel.Digest
	Patch    []byte

	Repository string // see verify.Target

	// The log before the act of attesting.
	LogKey     string
	Checkpoint []byte // signed, covers the records Observed was read from
	Size       int64
	Root       tlog.Hash

	Version string // of Carrel
	Now     time.Time
}

// Statements returns the provenance, the trace and the verification result of
// one change, in this order.
func (f *Facts) Statements() ([]Unsigned, error) {
	subjects := f.subjects()
	provenance, err := f.provenance()
	if err != nil {
		return nil, err
	}
	var out []Unsigned
	for _, s := range []struct {
		predicateType string
		predicate     any
	}{
		{verify.TypeProvenance, provenance},
		{verify.TypeTrace, f.trace()},
		{verify.TypeVerification, f.result()},
	} {
		u, err := NewUnsigned(s.predicateType, subjects, s.predicate)
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, nil
}

// subjects are what the change is, in every form it left the desk in.
func (f *Facts) subjects() []verify.Resource {
	out := []verify.Resource{{Name: patchName, Digest: map[string]string{verify.DigestSHA256: carrel.DigestBytes(f.Patch).Hex()}}}
	if commit := f.fact("commit"); commit != "" {
		out = append(out,
			verify.Resource{Name: "commit", Digest: map[string]string{verify.DigestCommit: commit}},
			verify.Resource{Name: "tree", Digest: map[string]string{verify.DigestTree: f.fact("tree")}})
	}
	return out
}

// fact is what the log says of how the change was published.
func (f *Facts) fact(name string) string {
	if p := f.Observed.Publication; p != nil {
		return string(p.Record.Outcome.Facts[name])
	}
	return ""
}

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
	target, left := noTarget, int64(0)
	if o.Publication != nil {
		target, left = o.Target, o.Publication.Record.Outcome.Counts["left_out"]
	}
	in := verify.InternalParameters{
		Agent: verify.AgentParameters{Name: o.Info.Agent, Runtime: f.Version, Program: o.Info.Program, User: o.Info.User},
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

func (f *Facts) trace() verify.Trace {
	var t verify.Trace
	o := f.Observed
	t.Monitor.Type = fmt.Sprintf(monitorURI, o.Info.Tier)
	t.Monitor.Config = f.policy()
	t.Monitor.Policy = map[string]any{
		"process": "the agent's own start",
		"network": "every name, connection and request, decided before it happened",
		"files":   "what the change alters, by digest; reads are not recorded",
		"lost":    o.Info.Lost, "omitted": o.Omitted + int64(max(0, len(f.Change.Files)-maxListed)),
		"complete": o.Incomplete() == "",
	}
	origin, _, _ := strings.Cut(f.LogKey, "+")
	t.Process.Host, t.Process.Type, t.Process.Job = fmt.Sprintf(hostURI, origin), verify.BuildType, string(o.Run)
	t.Log.Process = append([]verify.TracedProcess{}, o.Processes...)
	t.Log.Network = append([]verify.Destination{}, o.Destinations...)
	t.Log.Files = []verify.Resource{}
	for _, c := range f.Change.Files[:min(len(f.Change.Files), maxListed)] {
		t.Log.Files = append(t.Log.Files, traced(c))
	}
	t.Metadata.Started, t.Metadata.Finished = o.Started, f.finished()
	return t
}

// traced is one file of the change. A descriptor needs a digest or a URI; one
// that was deleted has no content.
func traced(c carrel.FileChange) verify.Resource {
	r := verify.Resource{Name: quote.Name(string(c.Path)), Annotations: map[string]any{"change": string(c.Change), "kind": string(c.Kind)}}
	switch {
	case c.Digest != "":
		r.Digest = map[string]string{verify.DigestSHA256: c.Digest.Hex()}
	case c.Kind == carrel.FileLink:
		r.Digest = map[string]string{verify.DigestSHA256: carrel.DigestBytes([]byte(c.Target)).Hex()}
	default:
		r.URI = "urn:carrel:no-content"
	}
	return r
}

// result says what the gate enforced, property by property. What is not known
// is not there.
func (f *Facts) result() verify.Result {
	var r verify.Result
	o := f.Observed
	r.Verifier.ID, r.Verifier.Policies = gateURI, []verify.Resource{f.policy()}
	r.Time = f.Now
	r.Properties = append(r.Properties, verify.PropertyLevel1, verify.PropertyTier+strings.ToUpper(o.Info.Tier))
	if o.Incomplete() == "" {
		r.Properties = append(r.Properties, verify.PropertyTraceComplete)
	}
	if o.Approval != nil {
		r.Properties = append(r.Properties, verify.PropertyApproved)
	}
	if len(f.Change.Withheld) == 0 {
		r.Properties = append(r.Properties, verify.PropertyNothingDenied)
	}
	for _, c := range verify.EnforcedControls(o.Info.Enforcement) {
		r.Properties = append(r.Properties, verify.PropertyEnforced+strings.ToUpper(string(c)))
	}
	return r
}

// commandLine joins words, quoted where a shell would need it.
func commandLine(words []carrel.Text) carrel.Text {
	var out []string
	for _, w := range words {
		s := string(w)
		if s == "" || strings.ContainsAny(s, " \t\n'\"\\$`&|;<>()*?[]{}~#!") {
			s = "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
		out = append(out, s)
	}
	return carrel.Text(strings.Join(out, " "))
}
