package verify

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/carrel-dev/carrel"
)

// StatementType is the only type of statement that is read.
const StatementType = "https://in-toto.io/Statement/v1"

// The predicates that Carrel writes. They are compared whole: a type that
// begins like one of them is another type.
const (
	TypeProvenance   = "https://slsa.dev/provenance/v1"
	TypeTrace        = "https://in-toto.io/attestation/runtime-trace/v0.1"
	TypeVerification = "https://in-toto.io/attestation/svr/v0.2"
	TypeEvidence     = "https://github.com/carrel-dev/carrel/evidence/v1"
)

// Names of digests in subjects and dependencies.
const (
	DigestSHA256 = "sha256"
	DigestCommit = "gitCommit"
	DigestTree   = "gitTree"
)

// Statement is an in-toto statement: a predicate about subjects, which are
// named by digest only.
type Statement struct {
	Type          string          `json:"_type"`
	Subject       []Resource      `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

// Resource is an in-toto resource descriptor.
type Resource struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	Content     []byte            `json:"content,omitempty"`
	MediaType   string            `json:"mediaType,omitempty"`
	Annotations map[string]any    `json:"annotations,omitempty"`
}

// maxSubjects bounds the subjects of a statement; Carrel writes three.
const maxSubjects = 64

// ParseStatement reads a statement in canonical form. A statement without a
// subject, or with one that has no digest, says nothing and is an error.
func ParseStatement(raw []byte) (Statement, error) {
	var s Statement
	if err := decodeStrict(raw, &s); err != nil {
		return Statement{}, fmt.Errorf("statement: %w", err)
	}
	if s.Type != StatementType {
		return Statement{}, fmt.Errorf("statement: type %.80q is not %s", s.Type, StatementType)
	}
	if len(s.Subject) == 0 || len(s.Subject) > maxSubjects {
		return Statement{}, fmt.Errorf("statement: %d subjects", len(s.Subject))
	}
	for _, r := range s.Subject {
		if len(r.Digest) == 0 {
			return Statement{}, errors.New("statement: a subject without a digest")
		}
	}
	if s.PredicateType == "" || len(s.Predicate) == 0 || s.Predicate[0] != '{' {
		return Statement{}, errors.New("statement: no predicate")
	}
	return s, nil
}

// Read decodes the predicate into v if it is of the given type, strictly.
func (s Statement) Read(predicateType string, v any) error {
	if s.PredicateType != predicateType {
		return fmt.Errorf("the statement is of type %.120q, not %s", s.PredicateType, predicateType)
	}
	if err := decodeStrict(s.Predicate, v); err != nil {
		return fmt.Errorf("predicate %s: %w", predicateType, err)
	}
	return nil
}

// Bytes returns the statement in canonical form: what is signed.
func (s Statement) Bytes() ([]byte, error) { return carrel.Canonical(s) }

// Covers checks an artifact, given by its digests, against the subjects: of
// each algorithm that is given there must be a subject, and every subject with
// that algorithm must have this digest. So a statement about several commits
// is about none.
func (s Statement) Covers(digests map[string]string) error {
	if len(digests) == 0 {
		return errors.New("nothing to compare with the statement's subjects")
	}
	for algorithm, want := range digests {
		found := false
		for _, r := range s.Subject {
			got, ok := r.Digest[algorithm]
			if ok && got != want {
				return fmt.Errorf("the statement is about another %s: %.80s, not %s", algorithm, got, want)
			}
			found = found || ok
		}
		if !found {
			return fmt.Errorf("the statement says nothing about a %s", algorithm)
		}
	}
	return nil
}
