package attest

import (
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

func (f *Facts) trace() verify.Trace {
	var t verify.Trace
	o := f.Observed
	files := f.listed()
	t.Monitor.Type = fmt.Sprintf(monitorURI, o.Info.Tier)
	t.Monitor.Config = f.policy()
	t.Monitor.Policy = map[string]any{
		"process": "the agent's own start",
		"network": "every name, connection and request, decided before it happened",
		"files":   "what the change alters, by digest; reads are not recorded",
		"lost":    o.Info.Lost, "omitted": o.Omitted + int64(len(f.Change.Files)-len(files)),
		"complete": o.Incomplete() == "",
	}
	origin, _, _ := strings.Cut(f.LogKey, "+")
	t.Process.Host, t.Process.Type, t.Process.Job = fmt.Sprintf(hostURI, origin), verify.BuildType, string(o.Run)
	t.Log.Process = append([]verify.TracedProcess{}, o.Processes...)
	t.Log.Network = append([]verify.Destination{}, o.Destinations...)
	t.Log.Files = []verify.Resource{}
	for _, c := range files {
		t.Log.Files = append(t.Log.Files, traced(c))
	}
	t.Metadata.Started, t.Metadata.Finished = o.Started, f.finished()
	return t
}

// listed are the files of the change that the trace lists one by one.
func (f *Facts) listed() []carrel.FileChange {
	var l verify.Listing
	for i, c := range f.Change.Files {
		if i == maxListed || !l.Fits(string(c.Path)) {
			return f.Change.Files[:i]
		}
	}
	return f.Change.Files
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
