package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/carrel-dev/carrel"
)

// NotesRef is where the attestations of commits are: a note of a commit holds
// one line for each.
const NotesRef = "refs/notes/carrel"

// MaxAttestations bounds the attestations of one commit.
const MaxAttestations = 256

// noteLine is one attestation in a note. Lines can be joined and sorted by
// git's own ways of merging notes.
type noteLine struct {
	Bundle json.RawMessage `json:"bundle"`
	Proof  string          `json:"proof"`
}

// NoteLines encodes attestations for a note.
func NoteLines(all []Attestation) ([]byte, error) {
	var out []byte
	for _, a := range all {
		line, err := carrel.Canonical(noteLine{a.Bundle, string(a.Proof)})
		if err != nil {
			return nil, fmt.Errorf("encoding a note: %w", err)
		}
		out = append(append(out, line...), '\n')
	}
	return out, nil
}

// ParseNote reads the attestations of a note. Every line must be one: what
// cannot be read might have been the one that says no. The same attestation
// twice, as a merge of notes may leave it, is there once.
func ParseNote(note []byte) ([]Attestation, error) {
	var out []Attestation
	seen := map[string]bool{}
	i := 0
	for line := range bytes.SplitSeq(bytes.TrimSuffix(note, []byte("\n")), []byte("\n")) {
		if i++; seen[string(line)] {
			continue
		}
		seen[string(line)] = true
		if len(out) == MaxAttestations {
			return nil, fmt.Errorf("the note has more than %d attestations", MaxAttestations)
		}
		var n noteLine
		if err := decodeStrict(line, &n); err != nil {
			return nil, fmt.Errorf("line %d of the note is no attestation: %w", i, err)
		}
		out = append(out, Attestation{n.Bundle, []byte(n.Proof)})
	}
	if len(out) == 0 {
		return nil, errors.New("the note has no attestations")
	}
	return out, nil
}

// CheckCommit checks every attestation of a commit, and that the sets they
// make are all about this commit and this tree. At least one set is needed;
// one wrong attestation makes all of them worthless. Of the zero Trust's log
// the one that each provenance names counts.
func CheckCommit(note []byte, commit, tree string, t Trust) ([]Set, error) {
	all, err := ParseNote(note)
	if err != nil {
		return nil, err
	}
	acts := map[carrel.RecordID][]Attested{}
	var order []carrel.RecordID
	var logs map[string]string
	if t.Log == "" {
		logs = namedLogs(all, t)
	}
	for i := range all {
		checked, err := checkNoted(all[i], logs, t)
		if err == nil {
			err = checked.Statement.Covers(map[string]string{DigestCommit: commit, DigestTree: tree})
		}
		if err != nil {
			return nil, fmt.Errorf("attestation %d of %d: %w", i+1, len(all), err)
		}
		if _, ok := acts[checked.Record.ID]; !ok {
			order = append(order, checked.Record.ID)
		}
		acts[checked.Record.ID] = append(acts[checked.Record.ID], checked)
	}
	var sets []Set
	for _, act := range order {
		set, err := CheckSet(acts[act])
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// checkNoted checks one of the attestations of a note.
func checkNoted(a Attestation, logs map[string]string, t Trust) (Attested, error) {
	if t.Log != "" {
		return a.Check(t)
	}
	b, err := ParseBundle(a.Bundle)
	if err != nil {
		return Attested{}, err
	}
	if _, err := b.Verify(t.Keys...); err != nil {
		return Attested{}, err
	}
	proof, err := ParseProof(a.Proof)
	if err != nil {
		return Attested{}, err
	}
	if t.Log = logs[string(proof.Extra)]; t.Log == "" {
		return Attested{}, errors.New("no provenance signed by a key you trust says which log it is in; name the log's key")
	}
	return a.Check(t)
}

// namedLogs returns the keys of the logs that attestations were announced in,
// as provenances signed by a trusted key name them, by the announcing record:
// it is the same in each proof of one act.
func namedLogs(all []Attestation, t Trust) map[string]string {
	out := map[string]string{}
	for _, a := range all {
		proof, err := ParseProof(a.Proof)
		if err != nil || out[string(proof.Extra)] != "" {
			continue
		}
		b, err := ParseBundle(a.Bundle)
		if err != nil {
			continue
		}
		s, err := b.Verify(t.Keys...)
		if err != nil {
			continue
		}
		var p Provenance
		if s.Read(TypeProvenance, &p) == nil {
			out[string(proof.Extra)] = p.LogKey()
		}
	}
	return out
}
