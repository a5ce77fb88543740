//go:build linux

package engine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/attest"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/verify"
)

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
		signed, err := b.e.sign(ctx, g, grant, a, signer, statements, b.size)
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
		return putFile(output, archive.Bytes(), 0o644)
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
		if err := putFile(path, content, 0o644); err != nil {
			return err
		}
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	return os.Rename(temp, output)
}
