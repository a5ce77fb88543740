//go:build linux

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/attest"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/private"
	"github.com/carrel-dev/carrel/internal/workspace"
	"github.com/carrel-dev/carrel/verify"
)

// records adds the run's records, a proof of each, and the approvals in them.
func (b *packing) records(ctx context.Context, checkpoint []byte) error {
	var lines, proofs, approvals bytes.Buffer
	var all []verify.PackedRecord
	reader := audit.OpenReader(b.e.state("log"))
	for r, err := range b.e.logged(ctx, b.run.Run, b.size) {
		if err != nil {
			return err
		}
		proof, err := proofLine(reader, r.Index, checkpoint, b.logKey)
		if err != nil {
			return err
		}
		lines.Write(append(r.Raw, '\n'))
		proofs.Write(proof)
		if lines.Len()+proofs.Len() > verify.MaxPackBytes/2 {
			return fmt.Errorf("the run has more records than a pack of %d bytes holds", verify.MaxPackBytes)
		}
		all = append(all, verify.NewPackedRecord(r.Index, r.Record))
	}
	if len(all) == 0 {
		return noRecords(string(b.run.Run))
	}
	for _, a := range verify.Approvals(all) {
		encoded, err := carrel.Canonical(a)
		if err != nil {
			return err
		}
		approvals.Write(append(encoded, '\n'))
	}
	b.pack[verify.RecordsFile], b.pack[verify.ProofsFile], b.pack[verify.ApprovalsFile] = lines.Bytes(), proofs.Bytes(), approvals.Bytes()
	return nil
}

// policy adds the policy that decided, with the texts it names. Of a run
// whose policy was not kept there is none, and verify says so.
func (b *packing) policy() error {
	manifest, err := b.e.readPolicy(b.run.Policy)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	b.pack[verify.PolicyFile] = manifest
	named, err := verify.PolicySources(manifest)
	if err != nil {
		return err
	}
	for _, d := range named {
		text, err := b.e.readPolicy(d)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		b.pack[verify.PolicyName(d)] = text
	}
	return nil
}

// addChange adds the change that came of the run, as a manifest and as a
// patch, with its attestations.
func (b *packing) addChange(ctx context.Context) error {
	entry, ws, err := b.chooseChange(ctx)
	if entry == nil || err != nil {
		return err
	}
	change, err := ws.LoadChange(*entry)
	if err != nil {
		return fmt.Errorf("%w; changes that were applied or discarded are kept for %s", err, keepFor)
	}
	b.change = entry
	if b.pack[verify.ChangeFile], err = b.e.blobs.Read(entry.Manifest, verify.MaxPackBytes/4); err != nil {
		return err
	}
	if b.pack[verify.PatchFile], err = attest.Patch(change, b.e.blobs); err != nil {
		return err
	}
	return b.attestations(entry.ID)
}

// chooseChange returns the change of the run that was applied last, else the
// newest one, else nil.
func (b *packing) chooseChange(ctx context.Context) (*workspace.ChangeEntry, *workspace.Workspace, error) {
	ws, err := b.e.workspaceAt(ctx, string(b.run.Workspace))
	if err != nil {
		return nil, nil, fmt.Errorf("the workspace of the run: %w", err)
	}
	all, err := ws.Changes()
	if err != nil {
		return nil, nil, err
	}
	var chosen *workspace.ChangeEntry
	for _, c := range all {
		if c.Run == b.run.Run && (chosen == nil || c.State == workspace.ChangeApplied || chosen.State != workspace.ChangeApplied) {
			chosen = &c
		}
	}
	return chosen, ws, nil
}

// attestations adds the newest act of attesting the change that was finished.
func (b *packing) attestations(change carrel.ChangeID) error {
	path, err := b.e.lastAttested(change)
	if err != nil || path == "" {
		return err
	}
	lines, err := private.Read(path, verify.MaxPackBytes/8)
	if err != nil {
		return err
	}
	set, err := verify.ParseNote(lines)
	if err != nil || len(set) != len(verify.ChangeAttestations) {
		return fmt.Errorf("%s: not a set of attestations (%v)", filepath.Base(path), err)
	}
	b.attested = true
	return b.proveAgain(set)
}

// proveAgain adds attestations with proofs under the pack's own checkpoint:
// the log's key may have been rotated since.
func (b *packing) proveAgain(set []verify.Attestation) error {
	reader := audit.OpenReader(b.e.state("log"))
	for i, name := range verify.ChangeAttestations {
		kept, err := verify.ParseProof(set[i].Proof)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		proof, err := reader.Prove(kept.Index, b.pack[verify.PackCheckpoint], b.logKey)
		if err != nil {
			return err
		}
		proof.Extra = kept.Extra
		b.pack[name+verify.BundleSuffix], b.pack[name+verify.ProofSuffix] = set[i].Bundle, proof.Bytes()
	}
	return nil
}
