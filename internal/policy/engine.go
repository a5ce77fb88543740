package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/policy/evaluator"
)

// Engine decides actions by the built-in floor and the layers it was made
// with. It never changes and is safe for concurrent use: a new policy is a
// new engine. The zero value denies everything.
type Engine struct {
	entries []*entry
	digest  carrel.Digest
	sources []Source
	layers  []Layer
	allowed memory[carrel.Decision] // of networkQuestions

	mu      sync.Mutex // while New runs; guards what its goroutines add
	remotes []*remote
}

// New compiles the layers, each in its own namespace, and puts the built-in
// floor below them. Rego of a layer is compiled and evaluated in a process of
// its kind that is bounded in memory and time, so that no policy can take the
// caller down. A layer that cannot be understood is an error: there is no
// engine without it. Close ends the processes; they also end with the caller.
func New(ctx context.Context, layers ...Layer) (*Engine, error) {
	return newEngine(ctx, layers, (*Engine).addRemote)
}

// NewHere is New for verbs that only ask: it bounds the memory of this process
// for good and evaluates the layers in it, so that nothing has to cross to
// another. A policy that grows too large ends the process.
func NewHere(ctx context.Context, layers ...Layer) (*Engine, error) {
	if err := evaluator.Bound(); err != nil {
		return nil, err
	}
	return newEngine(ctx, layers, (*Engine).addLocal)
}

// newEngine puts layers above the floor; add makes the voices of those in Rego.
func newEngine(ctx context.Context, layers []Layer, add func(*Engine, context.Context, []Layer) error) (*Engine, error) {
	floor, _, err := builtinEntries()
	if err != nil {
		return nil, err
	}
	if err := checkLayers(layers); err != nil {
		return nil, err
	}
	e := &Engine{entries: floor, layers: slices.Clone(layers)}
	// Who trusts whom: the organisation and the user share a process, which a
	// repository's policy must not bring down.
	own, foreign := split(layers)
	group, ctx := errgroup.WithContext(ctx)
	for _, layers := range [][]Layer{own, foreign} {
		if len(layers) > 0 {
			group.Go(func() error { return add(e, ctx, layers) })
		}
	}
	if err := group.Wait(); err != nil {
		e.Close()
		return nil, err
	}
	if err := e.order(layers); err != nil {
		e.Close()
		return nil, err
	}
	manifest, err := manifestOf(e.sources)
	e.digest = carrel.DigestBytes(manifest)
	return e, err
}

// split returns the Rego layers of the organisation and the user, and those of
// the repository.
func split(layers []Layer) (own, foreign []Layer) {
	for _, l := range layers {
		switch {
		case l.Func != nil:
		case l.Kind == Repository:
			foreign = append(foreign, l)
		default:
			own = append(own, l)
		}
	}
	return own, foreign
}

// addRemote adds the voices of layers that one process evaluates.
func (e *Engine) addRemote(ctx context.Context, layers []Layer) error {
	r, voices, err := newRemote(layers)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		err = ctx.Err()
	}
	e.remotes = append(e.remotes, r)
	for i, v := range voices {
		e.entries = append(e.entries, &entry{voice: v, remote: r, index: i})
	}
	return err
}

// addLocal adds the voices of layers that this process evaluates.
func (e *Engine) addLocal(_ context.Context, layers []Layer) error {
	for _, l := range layers {
		p, err := compileLayer(l)
		if err != nil {
			return fmt.Errorf("policy layer %s: %w", l.Name, err)
		}
		e.mu.Lock()
		for i, v := range p.voices {
			e.entries = append(e.entries, &entry{voice: v, ask: func(in input) (Answer, bool) { return p.questions[i].answer(in.value) }})
		}
		e.mu.Unlock()
	}
	return nil
}

// order puts the voices in the order of their layers, adds those in Go, and
// lists the sources.
func (e *Engine) order(layers []Layer) error {
	var ordered []*entry
	voicesOf := func(layer string) {
		for _, entry := range e.entries {
			if entry.Layer == layer {
				ordered = append(ordered, entry)
			}
		}
	}
	voicesOf(string(builtin))
	for _, l := range layers {
		if l.Func != nil {
			f, err := funcEntry(l)
			if err != nil {
				return fmt.Errorf("policy layer %s: %w", l.Name, err)
			}
			ordered = append(ordered, f)
		}
		voicesOf(l.Name)
	}
	e.entries = ordered
	for _, entry := range ordered {
		e.sources = append(e.sources, entry.source(layers))
	}
	return nil
}

func funcEntry(l Layer) (*entry, error) {
	if len(l.Files) > 0 || len(l.Governs) == 0 {
		return nil, errors.New("a layer in Go has no files and says what it governs")
	}
	if len(l.Text) == 0 {
		return nil, errors.New("a layer in Go says what it decides by")
	}
	return &entry{voice: voice{Layer: l.Name, Kind: l.Kind, Governs: l.Governs}, fn: l.Func}, nil
}

// Close ends the processes that evaluate policies. What they govern is denied
// from then on.
func (e *Engine) Close() {
	for _, r := range e.remotes {
		r.close()
	}
}

func checkLayers(layers []Layer) error {
	seen := map[string]bool{string(builtin): true, "policy": true, "input": true, "gate": true}
	for _, l := range layers {
		switch {
		case l.Name == "" || strings.Contains(l.Name, "/"):
			return fmt.Errorf("policy layer %q: a layer needs a name without a slash", l.Name)
		case seen[l.Name]:
			return fmt.Errorf("policy layer %s: the name is taken", l.Name)
		case !slices.Contains([]Kind{Organisation, User, Repository}, l.Kind):
			return fmt.Errorf("policy layer %s: kind %q is not known", l.Name, l.Kind)
		}
		for _, op := range l.Governs {
			if l.Kind != Organisation && slices.Contains(carrel.OperatorOperations, op) {
				return fmt.Errorf("policy layer %s: only the organisation's policy may govern %q", l.Name, op)
			}
		}
		seen[l.Name] = true
	}
	return nil
}

// Digest names everything a decision rests on besides its input.
func (e *Engine) Digest() carrel.Digest { return e.digest }

// Warm compiles what New left for the first question about these operations,
// or about any if none is named. The engine calls it in the background.
func (e *Engine) Warm(operations ...carrel.Operation) {
	for _, entry := range e.entries {
		asked := func(op carrel.Operation) bool { return slices.Contains(entry.Governs, op) }
		if entry.prepare != nil && (len(operations) == 0 || slices.ContainsFunc(operations, asked)) {
			entry.prepare()
		}
	}
}
