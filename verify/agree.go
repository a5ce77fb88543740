package verify

import (
	"errors"

	"github.com/carrel-dev/carrel"
)

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
