package policy

import (
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/version"

	"github.com/carrel-dev/carrel"
)

// Source is one voice of the policy in force, for --dry-run and explain.
type Source struct {
	Layer   string             `json:"layer"`
	Kind    Kind               `json:"kind"`
	Entry   string             `json:"entry,omitempty"`
	Governs []carrel.Operation `json:"governs"`
	Files   []SourceFile       `json:"files,omitempty"`
	Data    carrel.Digest      `json:"data,omitempty"` // of the layer's data
	// Revision and SignedBy are of a bundle: what it calls itself, and the
	// name of the key that its signature was checked with.
	Revision string        `json:"revision,omitempty"`
	SignedBy string        `json:"signed_by,omitempty"`
	Digest   carrel.Digest `json:"digest,omitempty"` // of what a layer in Go decides by
}

// SourceFile is one Rego source and the version of the language it was read as.
type SourceFile struct {
	Name    string        `json:"name"`
	Digest  carrel.Digest `json:"digest"`
	Version string        `json:"version"`
}

func (v voice) source(layers []Layer) Source {
	s := Source{Layer: v.Layer, Kind: v.Kind, Entry: v.Package, Governs: v.Governs, Files: v.Files}
	i := slices.IndexFunc(layers, func(l Layer) bool { return l.Name == v.Layer })
	switch {
	case i < 0:
	case layers[i].Func != nil:
		s.Digest = carrel.DigestBytes(layers[i].Text)
	default:
		s.Revision, s.SignedBy = layers[i].Revision, layers[i].SignedBy
		if len(layers[i].Data) > 0 {
			s.Data = carrel.DigestBytes(layers[i].Data)
		}
	}
	return s
}

// manifestOf names every source, the version each was read as, and the
// evaluator: the same text under another OPA may answer otherwise.
func manifestOf(sources []Source) ([]byte, error) {
	b, err := carrel.Canonical(struct {
		Evaluator string   `json:"evaluator"`
		Sources   []Source `json:"sources"`
	}{"opa " + version.Version, sources})
	if err != nil {
		return nil, fmt.Errorf("digesting the policy: %w", err)
	}
	return b, nil
}

// Manifest is what Digest is the digest of: canonical JSON that names every
// source by its digest.
func (e *Engine) Manifest() ([]byte, error) { return manifestOf(e.sources) }

// Texts are what the manifest names by digest: the built-in files, and of every
// layer its Rego and data, or what it decides by in Go.
func (e *Engine) Texts() ([][]byte, error) {
	texts, err := builtinTexts()
	for _, l := range e.layers {
		for _, f := range l.Files {
			texts = append(texts, f.Source)
		}
		for _, text := range [][]byte{l.Data, l.Text} {
			if len(text) > 0 {
				texts = append(texts, text)
			}
		}
	}
	return texts, err
}

// Sources lists the voices of the policy in force, the floor first.
func (e *Engine) Sources() []Source { return slices.Clone(e.sources) }
