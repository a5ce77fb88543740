package verify

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
)

// Names of the files of an evidence pack (spec/attestation.md).
const (
	ReadmeFile     = "README.md"
	ManifestFile   = "manifest.json"
	KeyFile        = "attestation.pub"
	LogKeyFile     = "log.vkey"
	ChangeFile     = "change.json"
	PatchFile      = "change.patch"
	RecordsFile    = "records.jsonl"
	ProofsFile     = "records.proofs.jsonl"
	ApprovalsFile  = "approvals.jsonl"
	PolicyFile     = "policy/sources.json"
	PolicyDir      = "policy"
	PackCheckpoint = "checkpoint"

	BundleSuffix = ".sigstore.json"
	ProofSuffix  = ".tlog-proof"
)

// Attestations are the names, without suffix, of the attestations of a pack:
// of the manifest, and of the change.
const (
	ManifestName     = "manifest"
	ProvenanceName   = "provenance"
	TraceName        = "trace"
	VerificationName = "verification"
)

// ChangeAttestations are those of an applied change, in the order of a Set.
var ChangeAttestations = []string{ProvenanceName, TraceName, VerificationName}

// Bounds of a pack. They are what one evidence of one run needs, with room,
// and what fits into the memory of a small machine.
const (
	MaxPackFiles = 1000
	MaxPackBytes = 256 << 20 // of all files together
)

// Pack is an evidence pack: its files by name, with slashes.
type Pack map[string][]byte

// packName is what a file of a pack may be called: at most one directory
// deep, in letters that mean the same everywhere.
var packName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([a-z0-9][a-z0-9_-]{0,63}/)?[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)
})

// add puts a file into the pack if the bounds allow it.
func (p Pack) add(name string, r io.Reader, total *int64) error {
	switch _, twice := p[name]; {
	case !packName().MatchString(name):
		return &PackFault{File: clip(name), Reason: "no file of an evidence pack is called so"}
	case twice:
		return &PackFault{File: name, Reason: "it is there twice"}
	case len(p) == MaxPackFiles:
		return fmt.Errorf("the pack has more than %d files", MaxPackFiles)
	}
	content, err := io.ReadAll(io.LimitReader(r, MaxPackBytes-*total+1))
	if err != nil {
		return fmt.Errorf("reading %s of the pack: %w", name, err)
	}
	if *total += int64(len(content)); *total > MaxPackBytes {
		return fmt.Errorf("the pack holds more than %d bytes", MaxPackBytes)
	}
	p[name] = content
	return nil
}

func clip(s string) string { return s[:min(len(s), 100)] }

// OpenPack reads a pack from a directory or from a .tar.zst archive. Nothing
// is written anywhere, links are not followed, and what is not a plain file
// with a plain name is refused. Nothing of the content is checked yet; see
// Check.
func OpenPack(path string) (Pack, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening the pack: %w", err)
	}
	if info.IsDir() {
		return readDir(path)
	}
	f, err := openRegular(path)
	if err != nil {
		return nil, fmt.Errorf("opening the pack: %w", err)
	}
	defer f.Close()
	return ReadArchive(f)
}

func readDir(root string) (Pack, error) {
	p, total := Pack{}, int64(0)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || rel == "." {
			return err
		}
		name := filepath.ToSlash(rel)
		if d.IsDir() {
			if name != PolicyDir {
				return &PackFault{File: clip(name), Reason: "no directory of an evidence pack is called so"}
			}
			return nil
		}
		f, err := openRegular(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return p.add(name, f, &total)
	})
	if err != nil {
		return nil, err
	}
	if len(p) == 0 {
		return nil, errors.New("the directory is empty, and no evidence pack")
	}
	return p, nil
}

// PackFault is the first thing that is wrong with a pack.
type PackFault struct {
	File   string // name in the pack
	Reason string
}

// Error says what is wrong and where.
func (f *PackFault) Error() string { return f.File + ": " + f.Reason }
