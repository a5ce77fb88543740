package verify

import (
	"errors"
	"slices"

	"github.com/carrel-dev/carrel"
)

// agree checks what the provenance says against the records it comes from:
// those below the checkpoint that it names.
func (p Pack) agree(s *Set, records []PackedRecord) error {
	patch, err := p.need(PatchFile)
	if err != nil {
		return err
	}
	if err := s.Attested[0].Statement.Covers(map[string]string{DigestSHA256: carrel.DigestBytes(patch).Hex()}); err != nil {
		return err
	}
	if err := p.agreeChange(s); err != nil {
		return err
	}
	before := slices.Clone(records)
	before = slices.DeleteFunc(before, func(r PackedRecord) bool { return r.Index >= s.Provenance.logSize() })
	if err := s.agreeRun(before); err != nil {
		return err
	}
	return s.agreePublication(before)
}

// agreeChange checks the provenance against the frozen change.
func (p Pack) agreeChange(s *Set) error {
	raw, err := p.need(ChangeFile)
	if err != nil {
		return err
	}
	c, digest, err := decodeChange(raw)
	if err != nil {
		return err
	}
	in, target := s.Provenance.Build.Internal.Change, s.Provenance.Build.External.Target
	switch {
	case in.ID != c.ID || !in.Digest.Equal(digest) || !in.Manifest.Equal(carrel.DigestBytes(raw)) || s.Provenance.Run.Metadata.Invocation != string(c.Run):
		return errors.New("the change")
	case in.Files != len(c.Files) || in.Withheld != len(c.Withheld) || in.Risk != c.Risk.Level:
		return errors.New("how much the change alters, or its risk")
	case target.BaseCommit != c.Base.Commit || target.BaseRef != c.Base.Branch:
		return errors.New("the base commit")
	}
	return nil
}

// agreeRun checks the provenance against what the records say of the run.
func (s *Set) agreeRun(records []PackedRecord) error {
	in, info := s.Provenance.Build.Internal, lastInfo(records)
	grants := make([]carrel.Text, 0, len(info.Grants))
	for _, g := range info.Grants {
		grants = append(grants, carrel.Text(g))
	}
	sandbox := SandboxParameters{
		Tier: info.Tier, Policy: info.Policy, Controls: append([]carrel.Enforcement{}, info.Enforcement...), Grants: grants, Lost: info.Lost,
		Complete: in.Sandbox.Complete, Reason: in.Sandbox.Reason,
	}
	want, err := carrel.Canonical(sandbox)
	if err != nil {
		return err
	}
	said, err := carrel.Canonical(in.Sandbox)
	if err != nil {
		return err
	}
	incomplete := complete(records)
	switch {
	case string(said) != string(want):
		return errors.New("the policy, the tier, what was enforced or what was handed over")
	case in.Agent.Program != info.Program || in.Agent.Name != info.Agent || in.Agent.User != info.User || in.Agent.Runtime != info.Version:
		return errors.New("the agent, or who started it")
	case s.Provenance.Build.External.Target.BaseCommit != info.BaseCommit:
		return errors.New("the base commit")
	case in.Sandbox.Complete && incomplete != "":
		return errors.New("whether the trace is complete: " + incomplete)
	case incomplete != "":
		return nil // what is missing here may have been there
	}
	return s.agreeReached(records)
}

// agreeReached counts again what the run reached and started.
func (s *Set) agreeReached(records []PackedRecord) error {
	var reached Reached
	for i := range records {
		reached.Add(&records[i].Record)
	}
	network, err := carrel.Canonical(reached.Destinations())
	if err != nil {
		return err
	}
	process, err := carrel.Canonical(append([]TracedProcess{}, reached.Processes...))
	if err != nil {
		return err
	}
	saidNetwork, _ := s.Provenance.byproduct(ByproductNetwork)
	saidProcess, _ := s.Provenance.byproduct(ByproductProcess)
	if reached.Omitted > 0 && s.Provenance.Build.Internal.Sandbox.Complete {
		return errors.New("whether the trace is complete: it does not list everything")
	}
	if string(saidNetwork.Content) != string(network) || string(saidProcess.Content) != string(process) {
		return errors.New("what the run reached, or what was started")
	}
	return nil
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
	if in.Change.Target == TargetNone {
		if result != nil {
			return errors.New("that it was not published")
		}
		return s.agreeApproval(nil)
	}
	if result == nil || intent.Record.Action.Publication.Target != in.Change.Target || !intent.Record.Action.Publication.Digest.Equal(in.Change.Digest) {
		return errors.New("that it was published there")
	}
	facts := result.Record.Outcome.Facts
	commit, tree := string(facts["commit"]), string(facts["tree"])
	if in.Change.Branch != facts["branch"] || int64(in.Change.Left) != result.Record.Outcome.Counts["left_out"] {
		return errors.New("the branch, or how many files are not on it")
	}
	if in.Change.Target == carrel.TargetBranch {
		if err := s.Attested[0].Statement.Covers(map[string]string{DigestCommit: commit, DigestTree: tree}); err != nil {
			return err
		}
	}
	record, _ := s.Provenance.byproduct(ByproductRecord)
	index, _ := record.Annotations["index"].(float64)
	if record.Digest[DigestSHA256] != carrel.DigestBytes(result.raw).Hex() || int64(index) != result.Index {
		return errors.New("the record of the publication")
	}
	if a := intent.Record.Approval; a != nil && (!a.Granted || a.Action != intent.Record.ActionDigest || a.Run != intent.Record.Run) {
		return errors.New("the approval: it is no yes to this publication")
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
	}
	want := ApprovalParameter{By: given.By, Time: given.Time, Action: given.Action, Reason: given.Reason, Terminal: given.Terminal}
	if said[0] != want {
		return errors.New("the approval")
	}
	return nil
}
