package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/carrel-dev/carrel"
)

// Differ is an action that two policies answer differently.
type Differ struct {
	Input json.RawMessage `json:"input"`
	Old   carrel.Verdict  `json:"old"`
	New   carrel.Verdict  `json:"new"`
	Rules []string        `json:"rules"` // of the new answer
}

// Diff asks both policies, each with the floor, about inputs that the words of
// both suggest, and returns those they answer differently, what the new one
// lets by first. It bounds the memory of this process. tried says how many
// inputs there were.
func Diff(ctx context.Context, old, new Layer) (found []Differ, tried int, err error) {
	found = []Differ{}
	before, err := NewHere(ctx, old)
	if err != nil {
		return nil, 0, fmt.Errorf("the old policy: %w", err)
	}
	after, err := NewHere(ctx, new)
	if err != nil {
		return nil, 0, fmt.Errorf("the new policy: %w", err)
	}
	var modules []module
	var governs []carrel.Operation
	for _, l := range []Layer{old, new} {
		p, err := compileLayer(l)
		if err != nil {
			return nil, 0, err
		}
		modules = append(modules, p.modules...)
		for _, v := range p.voices {
			governs = append(governs, v.Governs...)
		}
	}
	slices.Sort(governs)
	actions := probes(wordsOf(modules), slices.Compact(governs))
	now := time.Now()
	for _, a := range actions {
		was, is := before.DecideAt(a, now), after.DecideAt(a, now)
		if was.Verdict == is.Verdict {
			continue
		}
		if in, err := newInput(a); err == nil {
			found = append(found, Differ{exampleJSON(in), was.Verdict, is.Verdict, is.Rules})
		}
	}
	slices.SortStableFunc(found, func(a, b Differ) int { return opens(b) - opens(a) })
	return found, len(actions), nil
}

// opens orders differences: from denied to allowed is the most.
func opens(d Differ) int { return openness(d.New) - openness(d.Old) }

func openness(v carrel.Verdict) int {
	switch v {
	case carrel.Allow:
		return 2
	case carrel.Ask:
		return 1
	}
	return 0
}
