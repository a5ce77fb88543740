package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/carrel-dev/carrel/verify"
)

// witnessRule is whose cosignatures a checkpoint needs.
type witnessRule struct {
	policy   verify.WitnessPolicy
	required bool
	where    string // said so
}

// readWitnesses reads the witness policy that the user names.
func (v *verifying) readWitnesses() error {
	if v.opts.Witnesses == "" {
		return nil
	}
	text, err := readBounded(v.opts.Witnesses, 256<<10)
	if err != nil {
		return fmt.Errorf("--witnesses: %w", err)
	}
	p, err := verify.ParseWitnessPolicy(text)
	if err != nil {
		return fmt.Errorf("--witnesses: %s: %w", v.opts.Witnesses, err)
	}
	v.rule = &witnessRule{p, true, v.opts.Witnesses}
	return nil
}

// ruleFor is the rule for a log: what the user named, or for this machine's own
// log what its configuration says. nil: none.
func (v *verifying) ruleFor(logKey string) (*witnessRule, error) {
	if v.rule != nil || !slices.Contains(v.ownLogs(), logKey) {
		return v.rule, nil
	}
	s, err := (&Records{v.host}).configured()
	if err != nil {
		return nil, err
	}
	w, err := s.witnesses()
	if err != nil || w == nil {
		return nil, err
	}
	return &witnessRule{w.quorum, w.refuse, w.where}, nil
}

// cosigned checks who cosigned a checkpoint of the log with the given key, and
// says so.
func (v *verifying) cosigned(signed []byte, logKey string) error {
	v.checkpoints++
	rule, err := v.ruleFor(logKey)
	if rule == nil || err != nil {
		return err
	}
	by, err := rule.policy.Check(signed, logKey)
	switch {
	case errors.Is(err, verify.ErrQuorum) && !rule.required:
		v.say(&v.out.Missing, err.Error()+" ("+rule.where+")")
	case err != nil:
		return &hintError{fmt.Errorf("%s: %w", rule.where, err),
			"have the log cosigned where it is (carrel log checkpoint), then make the evidence or the proof again; of a commit, attest it again (carrel attest CHANGE)"}
	}
	c, err := verify.OpenCheckpoint(signed, logKey)
	if err != nil {
		return err
	}
	v.witness(logKey, by)
	for _, one := range by {
		if line := (CosignedBy{c.Size, one}); !slices.Contains(v.out.Cosigned, line) {
			v.out.Cosigned = append(v.out.Cosigned, line)
		}
		v.say(&v.out.Proved, fmt.Sprintf("witness %s had seen the log of %d records at %s, and knew no other past of it", one.Witness, c.Size, one.Time.Format(time.RFC3339)))
	}
	return nil
}

// witness keeps the names of those who cosigned every checkpoint of a log.
func (v *verifying) witness(logKey string, by []verify.Cosignature) {
	names := []string{}
	for _, one := range by {
		names = append(names, one.Witness)
	}
	before, met := v.witnessed[logKey]
	if met {
		names = slices.DeleteFunc(names, func(n string) bool { return !slices.Contains(before, n) })
	}
	if v.witnessed == nil {
		v.witnessed = map[string][]string{}
	}
	slices.Sort(names)
	v.witnessed[logKey] = slices.Compact(names)
}

// say adds a line once.
func (v *verifying) say(to *[]string, line string) {
	if !slices.Contains(*to, line) {
		*to = append(*to, line)
	}
}

// cosignedPack checks both checkpoints of a checked pack.
func (v *verifying) cosignedPack(p verify.Pack, logKey string) error {
	proof, err := verify.ParseProof(p[verify.ManifestName+verify.ProofSuffix])
	if err != nil {
		return err
	}
	if err := v.cosigned(p[verify.PackCheckpoint], logKey); err != nil {
		return err
	}
	return v.cosigned(proof.Checkpoint, logKey)
}

// cosignedNote checks the checkpoint of each proof in a checked note of a
// commit. Where no log was named, each set of attestations names its own.
func (v *verifying) cosignedNote(note []byte, sets []verify.Set) error {
	all, err := verify.ParseNote(note)
	if err != nil {
		return err
	}
	keys := []string{v.trust.Log}
	for i := range sets {
		keys = append(keys, sets[i].Provenance.LogKey())
	}
	for _, a := range all {
		p, err := verify.ParseProof(a.Proof)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(keys, signedIn(p))
		if i < 0 {
			return errors.New("a proof is signed by no log that the attestations name")
		}
		if err := v.cosigned(p.Checkpoint, keys[i]); err != nil {
			return err
		}
	}
	return nil
}

// mustHaveMet refuses where a witness policy was named and met no checkpoint.
func (v *verifying) mustHaveMet() error {
	if v.rule == nil || v.checkpoints > 0 {
		return nil
	}
	return &hintError{fmt.Errorf("%s asks for cosignatures, and nothing here has a checkpoint that could be checked", v.rule.where),
		"put the " + verify.ProofSuffix + " file beside the attestation, and name the log's key with --log-key"}
}
