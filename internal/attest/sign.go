package attest

import (
	"context"
	"errors"
	"fmt"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/verify"
)

// Unsigned is a statement in the bytes that will be signed.
type Unsigned struct {
	Type    string
	Payload []byte
}

// NewUnsigned encodes a statement of the given type about subjects.
func NewUnsigned(predicateType string, subjects []verify.Resource, predicate any) (Unsigned, error) {
	encoded, err := carrel.Canonical(predicate)
	if err != nil {
		return Unsigned{}, fmt.Errorf("encoding %s: %w", predicateType, err)
	}
	payload, err := verify.Statement{
		Type: verify.StatementType, Subject: subjects, PredicateType: predicateType, Predicate: encoded,
	}.Bytes()
	if err != nil {
		return Unsigned{}, fmt.Errorf("encoding %s: %w", predicateType, err)
	}
	// What a stranger would refuse to read is not worth a signature.
	if _, err := verify.ParseStatement(payload); err != nil {
		return Unsigned{}, fmt.Errorf("encoding %s: %w", predicateType, err)
	}
	return Unsigned{predicateType, payload}, nil
}

// Action is the action that Sign needs a grant for: it names the key and every
// statement by digest. subject is what the statements are about.
func Action(run carrel.RunID, subject string, key verify.PublicKey, statements []Unsigned) carrel.Action {
	a := carrel.Action{
		ID: carrel.NewActionID(), Run: run, Operation: carrel.OpAttest, Subject: subject,
		Attestation: &carrel.Attestation{Key: key.ID},
	}
	for _, s := range statements {
		a.Attestation.Statements = append(a.Attestation.Statements, carrel.Statement{Type: s.Type, Digest: carrel.DigestBytes(s.Payload)})
	}
	return a
}

// Sign signs the statements that a names, in its order, and returns them as
// bundles. Each signature is checked with the public key before it is
// returned, wherever it came from.
func Sign(ctx context.Context, g gate.Grant, a carrel.Action, s Signer, statements []Unsigned) ([][]byte, error) {
	if err := g.Covers(a); err != nil {
		return nil, err
	}
	key := s.Public()
	if want := Action(a.Run, a.Subject, key, statements); a.Attestation == nil || !sameAttestation(*want.Attestation, *a.Attestation) {
		return nil, fmt.Errorf("the action is not about signing these statements with key %s: %w", key.ID.Short(), gate.ErrNoGrant)
	}
	var out [][]byte
	for _, st := range statements {
		sig, err := s.Sign(ctx, verify.PAE(st.Payload))
		if err != nil {
			return nil, fmt.Errorf("signing: %w", err)
		}
		bundle := verify.Bundle{Payload: st.Payload, Signature: sig, Key: key.ID}
		if err := bundle.SignedBy(key); err != nil {
			return nil, errors.Join(errors.New("signing: what came back is not a signature by the public key that was named"), err)
		}
		raw, err := bundle.Bytes()
		if err != nil {
			return nil, err
		}
		out = append(out, raw)
	}
	return out, nil
}

func sameAttestation(a, b carrel.Attestation) bool {
	if a.Key != b.Key || len(a.Statements) != len(b.Statements) {
		return false
	}
	for i := range a.Statements {
		if a.Statements[i] != b.Statements[i] {
			return false
		}
	}
	return true
}
