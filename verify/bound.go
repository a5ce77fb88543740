package verify

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
)

// bound checks what the statements say in more than one place, for readers
// that look at one of them: it must be the same everywhere.
func (s *Set) bound() error {
	p := &s.Provenance
	in := &p.Build.Internal
	if err := s.knownProperties(); err != nil {
		return err
	}
	claims := func(property string) bool { return slices.Contains(s.Verification.Properties, property) }
	switch {
	case !claims(PropertyTier+strings.ToUpper(in.Sandbox.Tier)) || !strings.Contains(p.Run.Builder.ID, "/builder/"+in.Sandbox.Tier+"/"):
		return errors.New("the attestations disagree on the tier")
	case !claims(PropertyLevel1) || in.Level.Level != PropertyLevel1:
		return fmt.Errorf("the attestations disagree on the level, or claim more than %s", PropertyLevel1)
	case p.Build.External.Task.URI != "urn:carrel:run:"+p.Run.Metadata.Invocation:
		return errors.New("the attestations disagree on the run")
	case !s.samePolicy():
		return errors.New("the attestations disagree on the policy")
	}
	return errors.Join(s.sameSubjects(), p.sameDependencies(), s.sameByproducts())
}

// knownProperties refuses a property that this release does not check, or that
// is there twice: who reads the list alone would believe it.
func (s *Set) knownProperties() error {
	in := &s.Provenance.Build.Internal
	known := []string{PropertyLevel1, PropertyTraceComplete, PropertyApproved, PropertyNothingDenied, PropertyTier + strings.ToUpper(in.Sandbox.Tier)}
	for _, c := range EnforcedControls(in.Sandbox.Controls) {
		known = append(known, PropertyEnforced+strings.ToUpper(string(c)))
	}
	seen := map[string]bool{}
	for _, property := range s.Verification.Properties {
		if !slices.Contains(known, property) || seen[property] {
			return fmt.Errorf("the verification result has a property that the provenance does not bear out, or has it twice: %.80q", property)
		}
		seen[property] = true
	}
	return nil
}

// sameSubjects checks that the subjects are those of where the change went: the
// patch, and on a branch the commit and its tree, each by one digest.
func (s *Set) sameSubjects() error {
	want := []string{DigestSHA256}
	switch target := s.Provenance.Build.Internal.Change.Target; target {
	case TargetNone, carrel.TargetTree:
	case carrel.TargetBranch:
		want = append(want, DigestCommit, DigestTree)
	default:
		return fmt.Errorf("the change went to %.40q, which this release does not know", target)
	}
	subjects := s.Attested[0].Statement.Subject
	for i, r := range subjects {
		if len(subjects) != len(want) || len(r.Digest) != 1 || r.Digest[want[i]] == "" {
			return errors.New("the attestations disagree on what became of the change: their subjects are others")
		}
	}
	return nil
}

func (s *Set) samePolicy() bool {
	want := s.Provenance.Build.Internal.Sandbox.Policy.Hex()
	named := s.Verification.Verifier.Policies
	return len(named) == 1 && named[0].Digest[DigestSHA256] == want && s.Trace.Monitor.Config.Digest[DigestSHA256] == want
}

// sameDependencies checks the resolved dependencies against the parameters.
func (p *Provenance) sameDependencies() error {
	want := map[string]map[string]string{"policy": {DigestSHA256: p.Build.Internal.Sandbox.Policy.Hex()}}
	if base := p.Build.External.Target.BaseCommit; base != "" {
		want["base"] = map[string]string{DigestCommit: base}
	}
	if program := p.Build.Internal.Agent.Program; program != "" {
		want["agent"] = map[string]string{DigestSHA256: program.Hex()}
	}
	if len(p.Build.Dependencies) != len(want) {
		return fmt.Errorf("the provenance has %d dependencies, and its parameters name %d", len(p.Build.Dependencies), len(want))
	}
	for _, d := range p.Build.Dependencies {
		if !maps.Equal(want[d.Name], d.Digest) {
			return fmt.Errorf("the provenance disagrees with itself on the dependency %.40q", d.Name)
		}
		delete(want, d.Name)
	}
	return nil
}

// sameByproducts checks each by-product against its digest, and against the
// trace, the change and the log.
func (s *Set) sameByproducts() error {
	seen := map[string]Resource{}
	for _, r := range s.Provenance.Run.Byproducts {
		if _, twice := seen[r.Name]; twice {
			return fmt.Errorf("two by-products %.40q", r.Name)
		}
		if len(r.Content) > 0 && r.Digest[DigestSHA256] != carrel.DigestBytes(r.Content).Hex() {
			return fmt.Errorf("the by-product %.40q has another digest than it says", r.Name)
		}
		seen[r.Name] = r
	}
	network, err := carrel.Canonical(append([]Destination{}, s.Trace.Log.Network...))
	if err != nil {
		return err
	}
	process, err := carrel.Canonical(append([]TracedProcess{}, s.Trace.Log.Process...))
	if err != nil {
		return err
	}
	switch {
	case string(seen[ByproductNetwork].Content) != string(network):
		return errors.New("the attestations disagree on what the run reached")
	case string(seen[ByproductProcess].Content) != string(process):
		return errors.New("the attestations disagree on what was started")
	case seen[ByproductFilesystem].Digest[DigestSHA256] != s.Provenance.Build.Internal.Change.Manifest.Hex():
		return errors.New("the attestations disagree on the change")
	}
	return s.sameLog(seen[ByproductCheckpoint], seen[ByproductRecord])
}

// sameLog checks that the checkpoint is signed by the key that stands beside
// it, for the size and the root that stand there, and that it covers the
// record that is named and was made before the statements were announced.
func (s *Set) sameLog(checkpoint, record Resource) error {
	c, err := OpenCheckpoint(checkpoint.Content, s.Provenance.LogKey())
	if err != nil {
		return fmt.Errorf("by-product %s: %w", ByproductCheckpoint, err)
	}
	size, _ := checkpoint.Annotations["size"].(float64)
	index, ok := record.Annotations["index"].(float64)
	first := s.Attested[0]
	switch {
	case int64(size) != c.Size || s.Provenance.Root() != c.root():
		return fmt.Errorf("by-product %s: its size or root is not what is signed", ByproductCheckpoint)
	case c.Origin != first.Origin || c.Size > first.Index:
		return fmt.Errorf("by-product %s: it is not of the log's past when the statements were announced", ByproductCheckpoint)
	case !ok || index < 0 || int64(index) >= c.Size || record.Digest[DigestSHA256] == "":
		return fmt.Errorf("by-product %s: it is not below the checkpoint", ByproductRecord)
	}
	return nil
}
