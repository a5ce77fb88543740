package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/open-policy-agent/opa/v1/version"

	"github.com/carrel-dev/carrel"
)

// Engine decides actions by the built-in floor and the layers it was made
// with. It never changes and is safe for concurrent use: a new policy is a
// new engine. The zero value denies everything.
type Engine struct {
	entries []*entry
	digest  carrel.Digest
	sources []Source
}

// Source is one voice of the policy in force, for --dry-run and explain.
type Source struct {
	Layer   string             `json:"layer"`
	Kind    Kind               `json:"kind"`
	Entry   string             `json:"entry,omitempty"`
	Governs []carrel.Operation `json:"governs"`
	Files   []SourceFile       `json:"files,omitempty"`
	Digest  carrel.Digest      `json:"digest,omitempty"` // of what a layer in Go decides by
}

// SourceFile is one Rego source and the version of the language it was read as.
type SourceFile struct {
	Name    string        `json:"name"`
	Digest  carrel.Digest `json:"digest"`
	Version string        `json:"version"`
}

// New compiles the layers, each in its own namespace, and puts the built-in
// floor below them. A layer that cannot be understood is an error: there is no
// engine without it.
func New(ctx context.Context, layers ...Layer) (*Engine, error) {
	e := &Engine{}
	floor, files, err := builtinEntries()
	if err != nil {
		return nil, err
	}
	e.entries = floor
	e.addBuiltinSources(floor, files)
	if err := checkLayers(layers); err != nil {
		return nil, err
	}
	compiled := make([][]*entry, len(layers))
	group, ctx := errgroup.WithContext(ctx)
	for i, l := range layers {
		group.Go(func() (err error) {
			if compiled[i], err = compileBounded(ctx, l); err != nil {
				err = fmt.Errorf("policy layer %s: %w", l.Name, err)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, l := range layers {
		e.entries = append(e.entries, compiled[i]...)
		e.addSources(l, compiled[i])
	}
	e.digest, err = digestOf(e.sources)
	return e, err
}

func checkLayers(layers []Layer) error {
	seen := map[string]bool{string(builtin): true, "policy": true, "input": true, "gate": true}
	for _, l := range layers {
		switch {
		case l.Name == "" || strings.Contains(l.Name, "/"):
			return fmt.Errorf("policy layer %q: a layer needs a name without a slash", l.Name)
		case seen[l.Name]:
			return fmt.Errorf("policy layer %s: the name is taken", l.Name)
		case l.Kind != Organisation && l.Kind != User:
			return fmt.Errorf("policy layer %s: kind %q is neither %s nor %s", l.Name, l.Kind, Organisation, User)
		}
		for _, op := range l.Governs {
			if l.Kind == User && slices.Contains(carrel.OperatorOperations, op) {
				return fmt.Errorf("policy layer %s: only the organisation's policy may govern %q", l.Name, op)
			}
		}
		seen[l.Name] = true
	}
	return nil
}

func (e *Engine) addBuiltinSources(entries []*entry, files []File) {
	for i, entry := range entries {
		f := SourceFile{files[i].Name, carrel.DigestBytes(files[i].Source), "v1"}
		e.sources = append(e.sources, Source{Layer: entry.layer, Kind: builtin, Entry: entry.pkg, Governs: entry.governs, Files: []SourceFile{f}})
	}
}

func (e *Engine) addSources(l Layer, entries []*entry) {
	for _, entry := range entries {
		s := Source{Layer: l.Name, Kind: l.Kind, Entry: entry.pkg, Governs: entry.governs, Digest: l.Digest}
		for _, m := range entry.modules {
			s.Files = append(s.Files, SourceFile{m.file.Name, carrel.DigestBytes(m.file.Source), m.version})
		}
		e.sources = append(e.sources, s)
	}
}

// digestOf covers every source, the version each was read as, and the
// evaluator: the same text under another OPA may answer otherwise.
func digestOf(sources []Source) (carrel.Digest, error) {
	b, err := carrel.Canonical(struct {
		Evaluator string   `json:"evaluator"`
		Sources   []Source `json:"sources"`
	}{"opa " + version.Version, sources})
	if err != nil {
		return "", fmt.Errorf("digesting the policy: %w", err)
	}
	return carrel.DigestBytes(b), nil
}

// Digest names everything a decision rests on besides its input.
func (e *Engine) Digest() carrel.Digest { return e.digest }

// Sources lists the voices of the policy in force, the floor first.
func (e *Engine) Sources() []Source { return slices.Clone(e.sources) }

// Warm compiles what New left for the first question about these operations,
// or about any if none is named. The engine calls it in the background.
func (e *Engine) Warm(operations ...carrel.Operation) {
	for _, entry := range e.entries {
		asked := func(op carrel.Operation) bool { return slices.Contains(entry.governs, op) }
		if entry.prepare != nil && (len(operations) == 0 || slices.ContainsFunc(operations, asked)) {
			_, _ = entry.prepare() // an error is found again, and denies, when the entry is asked
		}
	}
}
