package verify

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
)

// PackReport is what a checked pack proves, and what it does not.
type PackReport struct {
	Run      carrel.RunID    `json:"run"`
	Change   carrel.ChangeID `json:"change,omitempty"`
	Created  time.Time       `json:"created"`
	Key      carrel.Digest   `json:"key"`
	Pinned   bool            `json:"key_trusted"` // the caller named the key
	Log      string          `json:"log_key"`
	Size     int64           `json:"log_size"`
	Records  int             `json:"records"`
	Complete bool            `json:"complete"` // every record of the run's own process is there
	Set      *Set            `json:"-"`        // nil: the change is not attested
	Commit   string          `json:"commit,omitempty"`
	Proved   []string        `json:"proved"`
	Missing  []string        `json:"not_proved"`
}

func (r *PackReport) proved(format string, args ...any) {
	r.Proved = append(r.Proved, fmt.Sprintf(format, args...))
}

func (r *PackReport) missing(format string, args ...any) {
	r.Missing = append(r.Missing, fmt.Sprintf(format, args...))
}

// Check checks everything in a pack, each thing against each other one it
// names. t is what the caller believes in; with the zero Trust the keys that
// came with the pack are used, and the report says that whose they are is not
// proved. The first thing that is wrong is a *PackFault.
func (p Pack) Check(t Trust) (PackReport, error) {
	var r PackReport
	if err := p.checkManifest(); err != nil {
		return r, err
	}
	trust, err := p.trusted(t)
	if err != nil {
		return r, err
	}
	signed, evidence, err := p.checkSigned(trust)
	if err != nil {
		return r, err
	}
	r.Run, r.Change, r.Created, r.Key, r.Pinned, r.Log = evidence.Run, evidence.Change, evidence.Created, signed.Key, len(t.Keys) > 0, trust.Log
	r.proved("the pack is whole: its %d files are those that key %s signed for, as record %d of log %s announced", len(p), r.Key.Short(), signed.Index, signed.Origin)
	records, checkpoint, err := p.records(trust, r.Run)
	if err != nil {
		return r, err
	}
	if err := p.approvals(records); err != nil {
		return r, err
	}
	r.Records, r.Size = len(records), checkpoint.Size
	r.proved("%d records of run %s are in that log, which had %d records when it was signed", r.Records, r.Run, r.Size)
	r.tellComplete(records)
	info := lastInfo(records)
	if err := p.checkPolicy(&r, info.Policy); err != nil {
		return r, err
	}
	change, err := p.change(&r, records)
	if err != nil {
		return r, err
	}
	if err := p.checkSet(&r, trust, records, info, change); err != nil {
		return r, err
	}
	r.tellLimits()
	return r, nil
}

func (r *PackReport) tellComplete(records []PackedRecord) {
	if why := complete(records); why != "" {
		r.missing("that the records of the run are all there: %s", why)
		return
	}
	r.Complete = true
	r.proved("none of the run's own records is missing: they are numbered without a hole from its start to its end")
}

// tellLimits names what no pack proves by itself.
func (r *PackReport) tellLimits() {
	if !r.Pinned {
		r.missing("whose key %s is: it came with the pack. Compare it with what `carrel identity show` prints on the machine, or name the key you trust", r.Key.Short())
	}
	r.missing("that nothing was left out of the log before it was signed: that needs a copy of a checkpoint, or a witness, elsewhere")
	r.missing("what others recorded about the run after it had ended (approvals, publications) beyond what is here")
	r.missing("which files the agent read, and what it did inside its walls without leaving them")
}

// lastInfo is what the run's newest record with a description says.
func lastInfo(records []PackedRecord) carrel.RunInfo {
	var info carrel.RunInfo
	for _, r := range records {
		if r.Record.RunInfo != nil {
			info = *r.Record.RunInfo
		}
	}
	return info
}

// checkPolicy checks that the policy in the pack is the one the records name.
// A run of a release that did not keep it has none.
func (p Pack) checkPolicy(r *PackReport, policy carrel.Digest) error {
	raw, ok := p[PolicyFile]
	if !ok {
		r.missing("what the policy %s says: its sources are not in the pack", policy.Short())
		return nil
	}
	if !carrel.DigestBytes(raw).Equal(policy) {
		return &PackFault{PolicyFile, "it is not the policy that the records name"}
	}
	named, err := PolicySources(raw)
	if err != nil {
		return &PackFault{PolicyFile, err.Error()}
	}
	files, absent := 0, 0
	for _, d := range named {
		content, ok := p[PolicyName(d)]
		switch {
		case !ok:
			absent++
		case !carrel.DigestBytes(content).Equal(d):
			return &PackFault{PolicyName(d), "it is not what the policy's sources name"}
		default:
			files++
		}
	}
	r.proved("the policy in the pack (%d sources) is the one that decided: digest %s", files, policy.Short())
	if absent > 0 {
		r.missing("what %d of the policy's sources say: they are not in the pack", absent)
	}
	return nil
}

// PolicyName is the name a source of the policy has in a pack.
func PolicyName(d carrel.Digest) string { return PolicyDir + "/" + d.Hex() }

// change checks the frozen change against the record that froze it. A pack of
// a run that changed nothing has none.
func (p Pack) change(r *PackReport, records []PackedRecord) (*carrel.ChangeRef, error) {
	raw, ok := p[ChangeFile]
	if !ok {
		if r.Change != "" || p[PatchFile] != nil {
			return nil, &PackFault{ChangeFile, "it is missing"}
		}
		r.missing("anything about a change: the pack has none")
		return nil, nil
	}
	var c carrel.Change
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, &PackFault{ChangeFile, err.Error()}
	}
	digest, err := c.Digest()
	if err != nil {
		return nil, &PackFault{ChangeFile, err.Error()}
	}
	if c.ID != r.Change || c.Run != r.Run {
		return nil, &PackFault{ChangeFile, "it is another change than the pack is about, or of another run"}
	}
	for _, rec := range records {
		ref := rec.Record.Change
		if rec.Record.Kind != carrel.KindChange || ref.ID != c.ID {
			continue
		}
		if !ref.Digest.Equal(digest) || !ref.Manifest.Equal(carrel.DigestBytes(raw)) {
			return nil, &PackFault{ChangeFile, "it is not what was frozen: the record of the change names other digests"}
		}
		r.proved("the change %s (%d files, %d withheld, risk %s, digest %s) is the one that was frozen at the end of the run", c.ID, len(c.Files), len(c.Withheld), c.Risk.Level, digest.Short())
		return ref, nil
	}
	return nil, r.unrecorded(&c, records, digest)
}

// unrecorded accepts a change that was frozen while the run went on, if it was
// published: the publication names its digest.
func (r *PackReport) unrecorded(c *carrel.Change, records []PackedRecord, digest carrel.Digest) error {
	for _, rec := range records {
		if a := rec.Record.Action; rec.Record.Kind == carrel.KindIntent && a.Publication != nil && a.Publication.Change == c.ID && a.Publication.Digest.Equal(digest) {
			r.proved("the change %s (%d files, digest %s) is the one that was published", c.ID, len(c.Files), digest.Short())
			return nil
		}
	}
	return &PackFault{ChangeFile, "no record of the run names it"}
}

// checkSet checks the attestations of the change, if there are any, against
// the records and the change.
func (p Pack) checkSet(r *PackReport, t Trust, records []PackedRecord, info carrel.RunInfo, change *carrel.ChangeRef) error {
	present := 0
	for _, name := range ChangeAttestations {
		for _, suffix := range []string{BundleSuffix, ProofSuffix} {
			if _, ok := p[name+suffix]; ok {
				present++
			}
		}
	}
	if present == 0 {
		r.missing("anything about where the change went: it is not attested; `carrel apply` and `carrel attest` do that")
		return nil
	}
	var all []Attested
	for _, name := range ChangeAttestations {
		at, err := p.attestation(name)
		if err != nil {
			return err
		}
		a, err := at.Check(t)
		if err != nil {
			return &PackFault{name + BundleSuffix, err.Error()}
		}
		all = append(all, a)
	}
	set, err := CheckSet(all)
	if err != nil {
		return &PackFault{ProvenanceName + BundleSuffix, err.Error()}
	}
	if err := p.agree(&set, records, info, change); err != nil {
		return &PackFault{ProvenanceName + BundleSuffix, "it and the records disagree: " + err.Error()}
	}
	r.Set = &set
	proved, missing := set.Tell()
	r.Proved, r.Missing = append(r.Proved, proved...), append(r.Missing, missing...)
	for _, subject := range set.Attested[0].Statement.Subject {
		if c := subject.Digest[DigestCommit]; c != "" {
			r.Commit = c
			r.proved("commit %s is what came of it", c)
		}
	}
	return nil
}

// Tell says in words what a set proves about its change, and what it does not.
func (s *Set) Tell() (proved, missing []string) {
	b := s.Provenance.Build
	where := "nowhere yet: it was not applied"
	switch b.Internal.Change.Target {
	case carrel.TargetTree:
		where = "into the working tree"
	case carrel.TargetBranch:
		where = fmt.Sprintf("onto branch %q", b.Internal.Change.Branch)
	}
	yes := func(format string, args ...any) { proved = append(proved, fmt.Sprintf(format, args...)) }
	yes("agent %q made the change on base commit %s of %q; it went %s", b.Internal.Agent.Name, orNone(b.External.Target.BaseCommit), b.External.Target.Repository, where)
	yes("walls: tier %s, enforced: %s; policy %s", b.Internal.Sandbox.Tier, controlNames(EnforcedControls(b.Internal.Sandbox.Controls)), b.Internal.Sandbox.Policy.Short())
	for _, a := range b.Internal.Approvals {
		yes("%q approved exactly this change at %s", a.By, a.Time.Format(time.RFC3339))
	}
	if len(b.Internal.Approvals) == 0 {
		missing = append(missing, "that a person approved: policy allowed the change by itself, or it was not applied")
	}
	if !b.Internal.Sandbox.Complete {
		missing = append(missing, "that the trace is complete: "+b.Internal.Sandbox.Reason)
	}
	return proved, append(missing, fmt.Sprintf("a SLSA level above %s. %s", b.Internal.Level.Level, b.Internal.Level.Why))
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

func controlNames(list []carrel.Control) string {
	if len(list) == 0 {
		return "none"
	}
	var out []string
	for _, c := range list {
		out = append(out, string(c))
	}
	return strings.Join(out, ", ")
}

// agree checks what the provenance says against the records it comes from.
func (p Pack) agree(s *Set, records []PackedRecord, info carrel.RunInfo, change *carrel.ChangeRef) error {
	in := s.Provenance.Build.Internal
	patch, err := p.need(PatchFile)
	if err != nil {
		return err
	}
	if err := s.Attested[0].Statement.Covers(map[string]string{DigestSHA256: carrel.DigestBytes(patch).Hex()}); err != nil {
		return err
	}
	controls, err := carrel.Canonical(append([]carrel.Enforcement{}, info.Enforcement...))
	if err != nil {
		return err
	}
	said, err := carrel.Canonical(in.Sandbox.Controls)
	switch {
	case err != nil:
		return err
	case change != nil && (in.Change.ID != change.ID || in.Change.Digest != change.Digest || in.Change.Manifest != change.Manifest):
		return errors.New("the change")
	case in.Sandbox.Policy != info.Policy || in.Sandbox.Tier != info.Tier || in.Agent.Program != info.Program || in.Agent.Name != info.Agent:
		return errors.New("the policy, the tier or the agent")
	case s.Provenance.Build.External.Target.BaseCommit != info.BaseCommit:
		return errors.New("the base commit")
	case string(said) != string(controls):
		return errors.New("what was enforced")
	case in.Sandbox.Complete && complete(records) != "":
		return errors.New("whether the trace is complete: " + complete(records))
	}
	return s.agreePublication(records)
}

// agreePublication finds the result of the publication and the approval it
// rested on.
func (s *Set) agreePublication(records []PackedRecord) error {
	in := s.Provenance.Build.Internal
	var intent, result *PackedRecord
	for i := range records {
		r := &records[i]
		switch a := r.Record.Action; {
		case r.Record.Kind == carrel.KindIntent && a.Publication != nil && a.Publication.Change == in.Change.ID:
			intent = r
		case r.Record.Kind == carrel.KindResult && intent != nil && a.ID == intent.Record.Action.ID && r.Record.Outcome.Status == carrel.OutcomeDone:
			result = r
		}
	}
	if in.Change.Target != carrel.TargetTree && in.Change.Target != carrel.TargetBranch {
		return nil
	}
	if result == nil || intent.Record.Action.Publication.Target != in.Change.Target || !intent.Record.Action.Publication.Digest.Equal(in.Change.Digest) {
		return errors.New("that it was published there")
	}
	facts := result.Record.Outcome.Facts
	commit, tree := string(facts["commit"]), string(facts["tree"])
	if in.Change.Target == carrel.TargetBranch {
		if err := s.Attested[0].Statement.Covers(map[string]string{DigestCommit: commit, DigestTree: tree}); err != nil {
			return err
		}
	}
	record, _ := s.Provenance.byproduct(ByproductRecord)
	if record.Digest[DigestSHA256] != carrel.DigestBytes(result.raw).Hex() {
		return errors.New("the record of the publication")
	}
	return s.agreeApproval(intent.Record.Approval)
}

func (s *Set) agreeApproval(given *carrel.Approval) error {
	said := s.Provenance.Build.Internal.Approvals
	switch {
	case given == nil && len(said) == 0:
		return nil
	case given == nil || len(said) != 1:
		return errors.New("the approval")
	case said[0].By != given.By || said[0].Action != given.Action || !said[0].Time.Equal(given.Time):
		return errors.New("the approval")
	}
	return nil
}

// Root is the log's root that the provenance names, in base64.
func (p *Provenance) Root() string {
	c, _ := p.byproduct(ByproductCheckpoint)
	root, _ := c.Annotations["root"].(string)
	if _, err := base64.StdEncoding.DecodeString(root); err != nil {
		return ""
	}
	return root
}
