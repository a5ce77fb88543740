package verify

import (
	"bytes"
	"errors"
	"fmt"
)

// onePast checks that what a pack has of its log is of one past, as far as it
// can be compared: checkpoints of one size have one root, and a record that was
// announced is the one that the pack has of that index. Who holds the log's
// key can sign another.
func (p Pack) onePast(t Trust, s *Set, records []PackedRecord) error {
	checkpoints := [][]byte{p[PackCheckpoint]}
	if s != nil {
		made, _ := s.Provenance.byproduct(ByproductCheckpoint)
		checkpoints = append(checkpoints, made.Content)
	}
	at := make(map[int64][]byte, len(records))
	for _, r := range records {
		at[r.Index] = r.raw
	}
	for _, name := range append([]string{ManifestName}, ChangeAttestations...) {
		raw, ok := p[name+ProofSuffix]
		if !ok {
			continue
		}
		proof, err := ParseProof(raw)
		if err != nil {
			return err
		}
		if line, ok := at[proof.Index]; ok && !bytes.Equal(line, proof.Extra) {
			return fmt.Errorf("the log has two records %d", proof.Index)
		}
		checkpoints = append(checkpoints, proof.Checkpoint)
	}
	return oneRoot(checkpoints, t.Log)
}

// oneRoot refuses checkpoints of one size with different roots.
func oneRoot(checkpoints [][]byte, key string) error {
	roots := map[int64]Checkpoint{}
	for _, signed := range checkpoints {
		c, err := OpenCheckpoint(signed, key)
		if errors.Is(err, ErrUntrusted) { // by a key that the log had before: what it signed was checked with that
			continue
		}
		if err != nil {
			return err
		}
		if other, ok := roots[c.Size]; ok && other != c {
			return fmt.Errorf("the log's key signed two pasts of %d records: who holds it, or has stolen it, shows others another log", c.Size)
		}
		roots[c.Size] = c
	}
	return nil
}
