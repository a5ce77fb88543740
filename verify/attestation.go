package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
)

// Attestation is one signed statement and the proof that its making was
// logged, as files hold them.
type Attestation struct {
	Bundle []byte
	Proof  []byte
}

// Trust is what the caller believes in: keys that they got from somewhere they
// trust, never from what is checked.
type Trust struct {
	Keys []PublicKey
	Log  string // the log's public key, "name+hash+key"
}

// Attested is what a checked attestation says.
type Attested struct {
	Statement Statement
	Key       carrel.Digest // of the key that signed it
	Index     int64         // of the record that announced it
	Size      int64         // of the log when that was proved
	Origin    string        // of the log
	Record    carrel.Record // intent of the act of attesting
	Time      time.Time     // of that record
}

// Check checks an attestation: the signature by one of the keys, and that the
// log has the record in which exactly this statement and this key were
// announced before it was signed.
func (a Attestation) Check(t Trust) (Attested, error) {
	b, err := ParseBundle(a.Bundle)
	if err != nil {
		return Attested{}, err
	}
	s, err := b.Verify(t.Keys...)
	if err != nil {
		return Attested{}, err
	}
	out := Attested{Statement: s, Key: b.Key}
	if len(a.Proof) == 0 {
		return Attested{}, errors.New("the attestation comes without a proof that it was logged")
	}
	p, err := ParseProof(a.Proof)
	if err != nil {
		return Attested{}, err
	}
	c, err := p.Check(p.Extra, t.Log)
	if err != nil {
		return Attested{}, fmt.Errorf("proof of logging: %w", err)
	}
	if out.Record, err = Record(p.Extra); err != nil {
		return Attested{}, fmt.Errorf("proof of logging: %w", err)
	}
	if err := announces(&out.Record, s.PredicateType, b); err != nil {
		return Attested{}, fmt.Errorf("proof of logging: %w", err)
	}
	out.Index, out.Size, out.Origin, out.Time = p.Index, c.Size, c.Origin, out.Record.Time
	return out, nil
}

// announces checks that r is the intent to sign exactly this payload with this
// key.
func announces(r *carrel.Record, predicateType string, b Bundle) error {
	if r.Kind != carrel.KindIntent || r.Action.Operation != carrel.OpAttest || r.Action.Attestation == nil {
		return fmt.Errorf("record %s is not about attesting", r.ID)
	}
	if err := checkDigest(r); err != nil {
		return err
	}
	want := carrel.Statement{Type: predicateType, Digest: carrel.DigestBytes(b.Payload)}
	if r.Action.Attestation.Key != b.Key || !slices.Contains(r.Action.Attestation.Statements, want) {
		return fmt.Errorf("record %s announces another statement, or another key", r.ID)
	}
	return nil
}

// Set is every attestation of one act of attesting: of one change.
type Set struct {
	Provenance   Provenance
	Trace        Trace
	Verification Result
	Attested     []Attested // in this order: provenance, trace, verification
}

// setTypes are the predicates that make a set whole.
var setTypes = []string{TypeProvenance, TypeTrace, TypeVerification}

// CheckSet checks that attestations belong together, one of each kind: signed
// by one key in one act, about the same subjects and the same run. What is
// missing or there twice is an error.
func CheckSet(all []Attested) (Set, error) {
	var s Set
	byType := make(map[string]Attested, len(all))
	for _, a := range all {
		if _, twice := byType[a.Statement.PredicateType]; twice {
			return s, fmt.Errorf("two attestations of type %s", a.Statement.PredicateType)
		}
		byType[a.Statement.PredicateType] = a
	}
	for _, name := range setTypes {
		a, ok := byType[name]
		if !ok {
			return s, fmt.Errorf("no attestation of type %s", name)
		}
		s.Attested = append(s.Attested, a)
	}
	if len(all) != len(setTypes) {
		return s, fmt.Errorf("%d attestations, not %d", len(all), len(setTypes))
	}
	if err := s.sameAct(); err != nil {
		return s, err
	}
	if err := s.read(); err != nil {
		return s, err
	}
	return s, s.consistent()
}

func (s *Set) sameAct() error {
	first := s.Attested[0]
	subjects, err := carrel.Canonical(first.Statement.Subject)
	if err != nil {
		return err
	}
	for _, a := range s.Attested[1:] {
		own, err := carrel.Canonical(a.Statement.Subject)
		if err != nil {
			return err
		}
		if a.Record.ID != first.Record.ID || a.Key != first.Key || a.Origin != first.Origin || string(own) != string(subjects) {
			return errors.New("the attestations were not made together, of one change")
		}
	}
	return nil
}

func (s *Set) read() error {
	return errors.Join(
		s.Attested[0].Statement.Read(TypeProvenance, &s.Provenance),
		s.Attested[1].Statement.Read(TypeTrace, &s.Trace),
		s.Attested[2].Statement.Read(TypeVerification, &s.Verification),
	)
}

// consistent checks that the statements do not say different things.
func (s *Set) consistent() error {
	p := &s.Provenance
	if p.Build.BuildType != BuildType {
		return fmt.Errorf("the provenance is of build type %.120q, which this release does not know", p.Build.BuildType)
	}
	run := p.Run.Metadata.Invocation
	if err := carrel.CheckID(run, "run_"); err != nil {
		return err
	}
	if s.Trace.Process.Job != run || string(s.Attested[0].Record.Run) != run {
		return errors.New("the attestations are about different runs")
	}
	claims := func(property string) bool { return slices.Contains(s.Verification.Properties, property) }
	sandbox, change := p.Build.Internal.Sandbox, p.Build.Internal.Change
	switch {
	case claims(PropertyTraceComplete) != sandbox.Complete || sandbox.Complete && sandbox.Lost > 0:
		return errors.New("the attestations disagree on whether the trace is complete")
	case claims(PropertyApproved) != (len(p.Build.Internal.Approvals) > 0):
		return errors.New("the attestations disagree on whether a person approved")
	case claims(PropertyNothingDenied) != (change.Withheld == 0):
		return errors.New("the attestations disagree on whether a file was denied")
	}
	for _, c := range EnforcedControls(sandbox.Controls) {
		if !claims(PropertyEnforced + strings.ToUpper(string(c))) {
			return fmt.Errorf("the attestations disagree on whether %s was enforced", c)
		}
	}
	return s.bound()
}

// EnforcedControls lists, sorted, the controls that are enforced wherever they
// are answered for: of two answers the worse one counts.
func EnforcedControls(answers []carrel.Enforcement) []carrel.Control {
	levels := make(map[carrel.Control]bool, len(answers))
	for _, e := range answers {
		before, seen := levels[e.Control]
		levels[e.Control] = e.Level == carrel.Enforced && (before || !seen)
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(levels)), func(c carrel.Control) bool { return !levels[c] })
}

// LogKey returns the public key of the log that a provenance names: the one
// its records are in. It is believed as far as the statement is.
func (p *Provenance) LogKey() string {
	r, _ := p.byproduct(ByproductCheckpoint)
	key, _ := r.Annotations["key"].(string)
	return key
}

// logSize is how many records the log had that the provenance rests on.
func (p *Provenance) logSize() int64 {
	r, _ := p.byproduct(ByproductCheckpoint)
	size, _ := r.Annotations["size"].(float64)
	return int64(size)
}

func (p *Provenance) byproduct(name string) (Resource, bool) {
	for _, r := range p.Run.Byproducts {
		if r.Name == name {
			return r, true
		}
	}
	return Resource{}, false
}

// Destinations returns what the run reached, or was refused.
func (p *Provenance) Destinations() ([]Destination, error) {
	r, ok := p.byproduct(ByproductNetwork)
	if !ok {
		return nil, fmt.Errorf("no by-product %s", ByproductNetwork)
	}
	var out []Destination
	if err := json.Unmarshal(r.Content, &out); err != nil {
		return nil, fmt.Errorf("by-product %s: %w", ByproductNetwork, err)
	}
	return out, nil
}
