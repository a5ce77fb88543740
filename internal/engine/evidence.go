//go:build linux

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/attest"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/private"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/workspace"
	"github.com/carrel-dev/carrel/verify"
)

// EvidenceOptions are the flags of evidence.
type EvidenceOptions struct {
	Output string // a directory, or a file that ends in .tar.zst
	JSON   bool
}

// Evidence packs everything a third party needs to check a run offline.
func (e *Engine) Evidence(ctx context.Context, run string, opts EvidenceOptions) error {
	if err := mustBeNew(opts.Output); err != nil {
		return err
	}
	r, err := e.findRun(ctx, run)
	if err != nil {
		return err
	}
	op, err := e.operator(ctx, "")
	if err != nil {
		return err
	}
	b := &packing{e: e, run: r, pack: verify.Pack{}}
	if err := b.gather(ctx); err != nil {
		return fmt.Errorf("packing the evidence of %s: %w", r.Run, err)
	}
	if err := b.seal(ctx, op.gate, opts.Output); err != nil {
		return fmt.Errorf("packing the evidence of %s: %w", r.Run, err)
	}
	if opts.JSON {
		return e.printJSON(map[string]any{"run": r.Run, "change": b.changeID(), "output": opts.Output, "files": len(b.pack), "attested": b.attested, "key": b.key.ID})
	}
	fmt.Fprintf(e.host.Stdout, "packed %s, %s, into %s\n  next: carrel verify %s\n", r.Run, plural(len(b.pack), "file"), terminal.Escape(opts.Output), terminal.Escape(opts.Output))
	if b.change != nil && !b.attested {
		fmt.Fprintf(e.host.Stdout, "  the change %s is in it and not attested: carrel attest %s\n", b.change.ID, b.change.ID)
	}
	return nil
}

const archiveSuffix = ".tar.zst"

// mustBeNew refuses to write where something is.
func mustBeNew(path string) error {
	switch _, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return &hintError{fmt.Errorf("%s is there already", path), "name another, or remove it: evidence is never mixed with other files"}
}

// packing is a pack on its way.
type packing struct {
	e        *Engine
	run      *RunResult
	pack     verify.Pack
	key      verify.PublicKey
	logKey   string
	size     int64 // of the log under the pack's checkpoint
	change   *workspace.ChangeEntry
	attested bool
}

func (b *packing) changeID() carrel.ChangeID {
	if b.change == nil {
		return ""
	}
	return b.change.ID
}

// gather collects the files.
func (b *packing) gather(ctx context.Context) error {
	log, err := b.e.openLog()
	if err != nil {
		return err
	}
	checkpoint, err := log.Checkpoint(ctx)
	if err != nil {
		return err
	}
	if b.logKey, err = audit.PublicKey(b.e.state("keys")); err != nil {
		return err
	}
	c, err := verify.OpenCheckpoint(checkpoint, b.logKey)
	if err != nil {
		return err
	}
	b.size = c.Size
	b.pack[verify.PackCheckpoint] = checkpoint
	b.pack[verify.LogKeyFile] = []byte(b.logKey + "\n")
	if err := b.records(ctx, checkpoint); err != nil {
		return err
	}
	if err := b.policy(); err != nil {
		return err
	}
	return b.addChange(ctx)
}

// records adds the run's records, a proof of each, and the approvals in them.
func (b *packing) records(ctx context.Context, checkpoint []byte) error {
	var lines, proofs, approvals bytes.Buffer
	var all []verify.PackedRecord
	reader := audit.OpenReader(b.e.state("log"))
	for r, err := range b.e.logged(ctx, b.run.Run, b.size) {
		if err != nil {
			return err
		}
		proof, err := reader.Prove(r.Index, checkpoint, b.logKey)
		if err != nil {
			return err
		}
		p := verify.RecordProof{Index: r.Index, Hashes: [][]byte{}}
		for _, h := range proof.Hashes {
			p.Hashes = append(p.Hashes, slices.Clone(h[:]))
		}
		encoded, err := carrel.Canonical(p)
		if err != nil {
			return err
		}
		lines.Write(append(r.Raw, '\n'))
		proofs.Write(append(encoded, '\n'))
		if lines.Len()+proofs.Len() > verify.MaxPackBytes/2 {
			return fmt.Errorf("the run has more records than a pack of %d bytes holds", verify.MaxPackBytes)
		}
		all = append(all, verify.NewPackedRecord(r.Index, r.Record))
	}
	if len(all) == 0 {
		return fmt.Errorf("the log has no records of %s", b.run.Run)
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
	dir := b.e.state("attestations", string(change))
	acts, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, act := range slices.Backward(acts) {
		if !strings.HasSuffix(act.Name(), ".jsonl") { // a file on its way when a process was killed
			continue
		}
		lines, err := private.Read(filepath.Join(dir, act.Name()), verify.MaxPackBytes/8)
		if err != nil {
			return err
		}
		set, err := verify.ParseNote(lines)
		if err != nil || len(set) != len(verify.ChangeAttestations) {
			return fmt.Errorf("%s: not a set of attestations (%v)", act.Name(), err)
		}
		b.attested = true
		return b.proveAgain(set)
	}
	return nil
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

// seal signs the list of files, which is an act of attesting like any other,
// and writes the pack.
func (b *packing) seal(ctx context.Context, g *gate.Gate, output string) error {
	signer, err := b.e.signer(string(b.run.Workspace))
	if err != nil {
		return err
	}
	if b.key, err = b.signedBy(signer.Public()); err != nil {
		return err
	}
	b.pack[verify.KeyFile] = b.key.PEM()
	b.pack[verify.ReadmeFile] = attest.Readme(b.pack)
	if b.pack[verify.ManifestFile], err = carrel.Canonical(b.pack.Manifest()); err != nil {
		return err
	}
	subject := verify.Resource{Name: verify.ManifestFile, Digest: map[string]string{verify.DigestSHA256: carrel.DigestBytes(b.pack[verify.ManifestFile]).Hex()}}
	statement, err := attest.NewUnsigned(verify.TypeEvidence, []verify.Resource{subject}, verify.Evidence{
		Run: b.run.Run, Change: b.changeID(), Created: time.Now().UTC().Truncate(time.Second), Log: b.logKey,
	})
	if err != nil {
		return err
	}
	statements := []attest.Unsigned{statement}
	a := attest.Action(b.run.Run, string(b.run.Run), b.key, statements)
	_, err = g.Do(ctx, a, func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
		signed, err := b.e.sign(ctx, grant, a, signer, statements, b.size)
		if err != nil {
			return carrel.Outcome{}, err
		}
		b.pack[verify.ManifestName+verify.BundleSuffix], b.pack[verify.ManifestName+verify.ProofSuffix] = signed[0].Bundle, signed[0].Proof
		// What a stranger would refuse is not handed out.
		if _, err := b.pack.Check(verify.Trust{Keys: []verify.PublicKey{b.key}, Log: b.logKey}); err != nil {
			return carrel.Outcome{}, fmt.Errorf("the pack does not verify: %w", err)
		}
		return carrel.Outcome{Facts: map[string]carrel.Text{"manifest": carrel.Text(carrel.DigestBytes(b.pack[verify.ManifestFile]))}}, writePack(b.pack, output)
	})
	return err
}

// signedBy checks that the attestations in the pack are by the key that signs
// now: a pack has one key.
func (b *packing) signedBy(now verify.PublicKey) (verify.PublicKey, error) {
	if !b.attested {
		return now, nil
	}
	bundle, err := verify.ParseBundle(b.pack[verify.ProvenanceName+verify.BundleSuffix])
	if err != nil {
		return now, err
	}
	if bundle.Key != now.ID {
		return now, &hintError{fmt.Errorf("the change was attested with key %s, which has been rotated", bundle.Key.Short()), "carrel attest " + string(b.changeID())}
	}
	return now, nil
}

// writePack writes the pack beside its name and gives it the name when it is
// whole.
func writePack(p verify.Pack, output string) error {
	dir, base := filepath.Dir(output), filepath.Base(output)
	if strings.HasSuffix(base, archiveSuffix) {
		var archive bytes.Buffer
		if err := p.WriteArchive(&archive); err != nil {
			return err
		}
		return putFile(output, archive.Bytes())
	}
	temp, err := os.MkdirTemp(dir, "."+base+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp) // nothing there once renamed
	for name, content := range p {
		path := filepath.Join(temp, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	return os.Rename(temp, output)
}

// putFile writes a file whole or not at all.
func putFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".carrel-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
