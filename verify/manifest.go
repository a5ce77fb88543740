package verify

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
)

// ManifestVersion is the version of the pack format.
const ManifestVersion = 1

// maxManifest bounds the list of the files of a pack: a line of it is a name, a
// size and a digest.
const maxManifest = MaxPackFiles * 512

// Manifest lists the files of a pack. It is signed as the subject of a
// statement of its own, so that a pack is whole or not at all.
type Manifest struct {
	Version int          `json:"v"`
	Files   []PackedFile `json:"files"` // sorted by name
}

// PackedFile is one file of a pack.
type PackedFile struct {
	Name   string        `json:"name"`
	Size   int64         `json:"size"`
	Digest carrel.Digest `json:"digest"`
}

// names returns the pack's files, sorted.
func (p Pack) names() []string { return slices.Sorted(maps.Keys(p)) }

// own reports whether a file belongs to the manifest itself, which cannot list
// it.
func own(name string) bool {
	return name == ManifestFile || name == ManifestName+BundleSuffix || name == ManifestName+ProofSuffix
}

// Manifest lists the files that are in the pack now, without the manifest's
// own.
func (p Pack) Manifest() Manifest {
	m := Manifest{Version: ManifestVersion, Files: []PackedFile{}}
	for _, name := range p.names() {
		if !own(name) {
			m.Files = append(m.Files, PackedFile{name, int64(len(p[name])), carrel.DigestBytes(p[name])})
		}
	}
	return m
}

// checkManifest checks that the pack has exactly the files that its manifest
// lists.
func (p Pack) checkManifest() error {
	raw, ok := p[ManifestFile]
	if !ok {
		return &PackFault{File: ManifestFile, Reason: "it is missing: this is no evidence pack, or not a whole one"}
	}
	if len(raw) > maxManifest {
		return &PackFault{File: ManifestFile, Reason: fmt.Sprintf("its %d bytes are over the limit of %d", len(raw), maxManifest)}
	}
	var m Manifest
	if err := decodeStrict(raw, &m); err != nil {
		return &PackFault{File: ManifestFile, Reason: err.Error()}
	}
	if m.Version != ManifestVersion {
		return &PackFault{File: ManifestFile, Reason: fmt.Sprintf("version %d is not %d; check it with the release that wrote it", m.Version, ManifestVersion)}
	}
	listed := make(map[string]bool, len(m.Files))
	for i, f := range m.Files {
		if i > 0 && m.Files[i-1].Name >= f.Name || own(f.Name) {
			return &PackFault{File: ManifestFile, Reason: "its files are not in order, or listed twice"}
		}
		content, ok := p[f.Name]
		switch {
		case !ok:
			return &PackFault{File: clip(f.Name), Reason: "the manifest lists it, and it is missing"}
		case int64(len(content)) != f.Size || !carrel.DigestBytes(content).Equal(f.Digest):
			return &PackFault{File: f.Name, Reason: "it is not what the manifest says: it was changed after the pack was made"}
		}
		listed[f.Name] = true
	}
	for _, name := range p.names() {
		if !listed[name] && !own(name) {
			return &PackFault{File: name, Reason: "the manifest does not list it"}
		}
	}
	return nil
}

// need returns a file that a pack cannot be without.
func (p Pack) need(name string) ([]byte, error) {
	b, ok := p[name]
	if !ok {
		return nil, &PackFault{File: name, Reason: "it is missing"}
	}
	return b, nil
}

// attestation returns one attestation of the pack by name.
func (p Pack) attestation(name string) (Attestation, error) {
	bundle, err := p.need(name + BundleSuffix)
	if err != nil {
		return Attestation{}, err
	}
	proof, err := p.need(name + ProofSuffix)
	return Attestation{bundle, proof}, err
}

// keys reads the two public keys that came with the pack.
func (p Pack) keys() (PublicKey, string, error) {
	raw, err := p.need(KeyFile)
	if err != nil {
		return PublicKey{}, "", err
	}
	key, err := ParsePublicKey(raw)
	if err != nil {
		return PublicKey{}, "", &PackFault{File: KeyFile, Reason: err.Error()}
	}
	raw, err = p.need(LogKeyFile)
	if err != nil {
		return PublicKey{}, "", err
	}
	logKey, ok := strings.CutSuffix(string(raw), "\n")
	if !ok || len(raw) > maxKey || strings.ContainsAny(logKey, " \r\n\t") || logKey == "" {
		return PublicKey{}, "", &PackFault{File: LogKeyFile, Reason: "it is not one public key of a signed note"}
	}
	return key, logKey, nil
}

// ErrUntrusted says that something is signed by a key that is none of those the
// caller trusts.
var ErrUntrusted = errors.New("that is not a key you trust")

// trusted joins the keys that came with the pack with those the caller
// believes in: where the caller has any, the pack's must be among them.
func (p Pack) trusted(t Trust) (Trust, error) {
	key, logKey, err := p.keys()
	if err != nil {
		return Trust{}, err
	}
	if len(t.Keys) > 0 && !slices.ContainsFunc(t.Keys, func(k PublicKey) bool { return k.ID == key.ID }) {
		return Trust{}, fmt.Errorf("the pack is signed by key %s: %w", key.ID.Short(), ErrUntrusted)
	}
	if t.Log != "" && t.Log != logKey {
		return Trust{}, fmt.Errorf("the pack is of the log %.200s: %w", logKey, ErrUntrusted)
	}
	return Trust{[]PublicKey{key}, logKey}, nil
}

// checkSigned checks the signature over the manifest.
func (p Pack) checkSigned(t Trust) (Attested, Evidence, error) {
	var e Evidence
	at, err := p.attestation(ManifestName)
	if err != nil {
		return Attested{}, e, err
	}
	a, err := at.Check(t)
	if err == nil {
		err = a.Statement.Read(TypeEvidence, &e)
	}
	if err == nil {
		err = a.Statement.Covers(map[string]string{DigestSHA256: carrel.DigestBytes(p[ManifestFile]).Hex()})
	}
	if err == nil && (e.Log != t.Log || a.Record.Run != e.Run) {
		err = errors.New("it was signed for another log or another run")
	}
	if err != nil {
		return a, e, &PackFault{File: ManifestName + BundleSuffix, Reason: err.Error()}
	}
	return a, e, nil
}
