package engine

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/verify"
)

// proof checks that a record is in the log that a trusted key speaks for.
func (v *verifying) proof(path string) error {
	v.out.Kind = "proof"
	if v.opts.Policy != "" {
		return &hintError{errors.New("a policy is asked about attested changes, and a proof is of one record of the log"), "carrel verify PACK|COMMIT --policy FILE"}
	}
	raw, err := readBounded(path, verify.MaxPackBytes/64)
	if err != nil {
		return err
	}
	p, err := verify.ParseProof(raw)
	if err != nil {
		return err
	}
	if err := v.trustLog(p); err != nil {
		return err
	}
	record, err := v.proved(p)
	if err != nil {
		return err
	}
	c, err := p.Check(record, v.trust.Log)
	if err != nil {
		return v.otherKey(err)
	}
	r, err := verify.Record(record)
	if err != nil {
		return fmt.Errorf("what it proves is no record of Carrel: %w", err)
	}
	v.out.LogKey, v.out.Trusted, v.out.Record = v.trust.Log, true, terminal.EscapeJSON(bytes.Clone(record))
	v.out.Proved = append(v.out.Proved,
		fmt.Sprintf("record %d of log %s is: %s", p.Index, c.Origin, audit.Format(r, asItIs)),
		fmt.Sprintf("the log's key signed for it, in a checkpoint of %d records", c.Size))
	v.tellRecord(&r)
	return v.cosigned(p.Checkpoint, v.trust.Log)
}

// asItIs leaves a text to whoever prints it: lines and JSON escape in their own
// ways.
func asItIs(s string) string { return s }

// trustLog finds the key of this machine's own log where none was named.
func (v *verifying) trustLog(p verify.Proof) error {
	if v.trust.Log != "" {
		return nil
	}
	if v.trustOwnLog(signedIn(p)); v.trust.Log == "" {
		return &hintError{errors.New("no key to check the proof with: it names a log, and a key that came with it would prove nothing"), "--log-key log.vkey, as `carrel identity export` wrote it where the log is"}
	}
	v.own = true
	return nil
}

// proved returns the record that a proof is of: the one it carries, or the one
// the user has.
func (v *verifying) proved(p verify.Proof) ([]byte, error) {
	if v.opts.Artifact == "" {
		if len(p.Extra) == 0 {
			return nil, &hintError{errors.New("the proof does not carry its record"), "--artifact FILE, with the record as the log has it"}
		}
		return p.Extra, nil
	}
	record, err := readBounded(v.opts.Artifact, verify.MaxRecord+1)
	if err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(record, []byte("\n")), nil
}

// otherKey says the next step where a proof is signed by another key.
func (v *verifying) otherKey(err error) error {
	if !errors.Is(err, verify.ErrUntrusted) {
		return err
	}
	return &hintError{err, "--log-key log.vkey of the log that it is of, from somebody you trust; if that log's key was rotated since, its keeper makes the proof again: carrel log prove RECORD"}
}

// tellRecord says what a record by itself leaves open.
func (v *verifying) tellRecord(r *carrel.Record) {
	switch r.Kind {
	case carrel.KindIntent:
		v.out.Missing = append(v.out.Missing, "that it was done: an intent is recorded before the act, and its result is another record")
		if at := r.Action.Attestation; at != nil {
			for _, s := range at.Statements {
				v.out.Proved = append(v.out.Proved, fmt.Sprintf("it announced a statement of type %s, %s, for key %s", s.Type, s.Digest, at.Key.Short()))
			}
			v.out.Missing = append(v.out.Missing, "what those statements say, and that they were signed: check the "+verify.BundleSuffix+" files")
		}
	case carrel.KindApproval:
		v.out.Missing = append(v.out.Missing, "that what was approved was done: that is another record")
	}
	v.out.Missing = append(v.out.Missing,
		"what other records say: the proof is of this one",
		"that nothing was left out of the log before it was signed: that needs a copy of a checkpoint, or a witness, elsewhere")
}

// strange says what verify takes, for a file that is none of it.
func strange(path string, err error) error {
	if strings.HasSuffix(path, archiveSuffix) {
		return err
	}
	return &hintError{fmt.Errorf("%s is no evidence: %w", filepath.Base(path), err),
		"give a pack (a directory or FILE" + archiveSuffix + "), an attestation (FILE" + verify.BundleSuffix + "), a proof (FILE" + verify.ProofSuffix + ") or a commit"}
}
