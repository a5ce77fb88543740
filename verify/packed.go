package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
)

// PackedRecord is a record of a pack with its place in the log.
type PackedRecord struct {
	Index  int64
	Record carrel.Record
	raw    []byte
}

// RecordProof is a line of records.proofs.jsonl: the same line of
// records.jsonl is at this index of the log, and these hashes lead to the root
// of the pack's checkpoint.
type RecordProof struct {
	Index  int64    `json:"index"`
	Hashes [][]byte `json:"hashes"`
}

// records checks every record of the pack against the checkpoint, that they
// are all of one run, and that they follow from each other.
func (p Pack) records(t Trust, run carrel.RunID) ([]PackedRecord, Checkpoint, error) {
	signed, err := p.need(PackCheckpoint)
	if err != nil {
		return nil, Checkpoint{}, err
	}
	c, err := OpenCheckpoint(signed, t.Log)
	if err != nil {
		return nil, c, &PackFault{PackCheckpoint, err.Error()}
	}
	lines, err := p.lines(RecordsFile)
	if err != nil {
		return nil, c, err
	}
	proofs, err := p.lines(ProofsFile)
	if err != nil {
		return nil, c, err
	}
	count, proved := bytes.Count(lines, []byte("\n")), bytes.Count(proofs, []byte("\n"))
	if count == 0 || count != proved {
		return nil, c, &PackFault{ProofsFile, fmt.Sprintf("%d proofs of %d records", proved, count)}
	}
	var out []PackedRecord
	state := newRuns(true)
	for len(lines) > 0 {
		var line, proof []byte
		line, lines, _ = bytes.Cut(lines, []byte("\n"))
		proof, proofs, _ = bytes.Cut(proofs, []byte("\n"))
		r, err := checkPacked(c, line, proof)
		if err == nil && r.Record.Run != run {
			err = errors.New("it is of another run")
		}
		if err == nil && len(out) > 0 && out[len(out)-1].Index >= r.Index {
			err = errors.New("it is not in the log's order")
		}
		if err == nil {
			err = state.add(&r.Record)
		}
		if err != nil {
			return nil, c, &PackFault{RecordsFile, fmt.Sprintf("line %d: %v", len(out)+1, err)}
		}
		out = append(out, r)
	}
	return out, c, nil
}

// maxProofLine bounds a line of records.proofs.jsonl: an index and as many
// hashes in base64 as a proof can have.
const maxProofLine = 64 + maxProofHashes*(44+3)

func checkPacked(c Checkpoint, line, proof []byte) (PackedRecord, error) {
	var p RecordProof
	if len(proof) > maxProofLine {
		return PackedRecord{}, fmt.Errorf("its proof of %d bytes is over the limit of %d", len(proof), maxProofLine)
	}
	if err := decodeStrict(proof, &p); err != nil {
		return PackedRecord{}, fmt.Errorf("its proof: %w", err)
	}
	if len(p.Hashes) > maxProofHashes {
		return PackedRecord{}, errors.New("its proof has too many hashes")
	}
	var hashes []tlog.Hash
	for _, h := range p.Hashes {
		if len(h) != tlog.HashSize {
			return PackedRecord{}, errors.New("its proof has something else than hashes")
		}
		hashes = append(hashes, tlog.Hash(h))
	}
	r, err := Record(line)
	if err != nil {
		return PackedRecord{}, err
	}
	if r.Kind == carrel.KindIntent || r.Kind == carrel.KindRefused {
		if err := checkDigest(&r); err != nil {
			return PackedRecord{}, err
		}
	}
	return PackedRecord{p.Index, r, line}, checkInclusion(c, p.Index, line, hashes)
}

// lines returns a file of lines, the last of which is whole.
func (p Pack) lines(name string) ([]byte, error) {
	raw, err := p.need(name)
	if err == nil && len(raw) > 0 && raw[len(raw)-1] != '\n' {
		err = &PackFault{name, "its last line is not whole"}
	}
	return raw, err
}

// complete says why the records that the run's own process wrote are not all
// there; "" if they are: numbered from 1 to the count in the last of them.
func complete(records []PackedRecord) string {
	var count int64
	closed := false
	for _, r := range records {
		if r.Record.RunSeq == 0 {
			continue
		}
		if count++; r.Record.RunSeq != count {
			return fmt.Sprintf("record %d of the run is missing", count)
		}
		closed = r.Record.Kind == carrel.KindRunEnd
	}
	if !closed {
		return "the run has no last record: it was killed, or went on when the pack was made"
	}
	return ""
}

// approvals checks that the approvals file lists exactly the answers of the
// records, in order.
func (p Pack) approvals(records []PackedRecord) error {
	var want bytes.Buffer
	for _, a := range Approvals(records) {
		line, err := carrel.Canonical(a)
		if err != nil {
			return err
		}
		want.Write(append(line, '\n'))
	}
	got, err := p.need(ApprovalsFile)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want.Bytes()) {
		return &PackFault{ApprovalsFile, "it is not what the records say"}
	}
	return nil
}

// Approvals returns people's answers in the records: those that something was
// done on.
func Approvals(records []PackedRecord) []carrel.Approval {
	var out []carrel.Approval
	seen := map[carrel.Approval]bool{}
	for _, r := range records {
		if a := r.Record.Approval; a != nil && !seen[*a] {
			seen[*a] = true
			out = append(out, *a)
		}
	}
	return out
}

// NewPackedRecord makes a record for Approvals. It is not checked.
func NewPackedRecord(index int64, r carrel.Record) PackedRecord {
	return PackedRecord{Index: index, Record: r}
}

// policySources is what a policy's digest is the digest of: the parts that
// this package looks at.
type policySources struct {
	Evaluator string `json:"evaluator"`
	Sources   []struct {
		Files []struct {
			Name   string        `json:"name"`
			Digest carrel.Digest `json:"digest"`
		} `json:"files"`
		Data   carrel.Digest `json:"data"`
		Digest carrel.Digest `json:"digest"`
	} `json:"sources"`
}

// maxPolicySources bounds the list of a policy's texts: some hundred names and
// digests.
const maxPolicySources = 1 << 20

// PolicySources returns the digests of every text that a policy's manifest
// names, each once.
func PolicySources(manifest []byte) ([]carrel.Digest, error) {
	var s policySources
	if len(manifest) > maxPolicySources {
		return nil, fmt.Errorf("reading the policy's sources: %d bytes are over the limit of %d", len(manifest), maxPolicySources)
	}
	if err := json.Unmarshal(manifest, &s); err != nil {
		return nil, fmt.Errorf("reading the policy's sources: %w", err)
	}
	var out []carrel.Digest
	seen := map[carrel.Digest]bool{}
	add := func(d carrel.Digest) error {
		if _, err := carrel.ParseDigest(string(d)); err != nil {
			return fmt.Errorf("reading the policy's sources: %w", err)
		}
		if !seen[d] {
			seen[d] = true
			out = append(out, d)
		}
		return nil
	}
	for _, source := range s.Sources {
		for _, f := range source.Files {
			if err := add(f.Digest); err != nil {
				return nil, err
			}
		}
		for _, d := range []carrel.Digest{source.Data, source.Digest} {
			if d == "" {
				continue
			}
			if err := add(d); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}
