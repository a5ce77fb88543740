package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// Explanation is a decision with everything it was made of. It needs neither
// a run nor a network.
type Explanation struct {
	Action   carrel.Action   `json:"action"`
	Decision carrel.Decision `json:"decision"`
	Voices   []Voice         `json:"voices"`
	Input    json.RawMessage `json:"input,omitempty"` // what the policies saw, canonical
	Sources  []Source        `json:"sources"`
	Lacked   []string        `json:"lacked,omitempty"` // fields that Input had not yet: see ExplainRecorded

	in input
}

// Explain decides a as Decide does and tells how the answer came about.
func (e *Engine) Explain(a carrel.Action) Explanation { return e.ExplainAt(a, time.Now()) }

// ExplainAt explains what would be decided at another time.
func (e *Engine) ExplainAt(a carrel.Action, at time.Time) Explanation {
	d, voices, in := e.decide(a, at)
	x := Explanation{Action: a, Decision: d, Voices: voices, Input: in.json, in: in}
	if e != nil {
		x.Sources = e.Sources()
	}
	return x
}

// ExplainDocument explains an input that was read as JSON: what cannot be read
// is denied with the reason, as a malformed action is.
func (e *Engine) ExplainDocument(raw []byte) (Explanation, []string) {
	doc, err := ParseDocument(raw)
	if err != nil {
		x := Explanation{Decision: refuseInput(err), Sources: e.Sources()}
		x.Decision.Policy = e.digest
		return x, nil
	}
	if doc.Time.IsZero() {
		doc.Time = time.Now()
	}
	return e.ExplainAt(doc.Action, doc.Time), doc.Ignored
}

// Ungated reports, one line each, where a layer speaks of an operation that
// the tier does not put to the policy, or that the layer names in a rule but
// does not govern: in both cases the author would believe in a rule that is
// never asked. The built-in layer is not reported.
func (e *Engine) Ungated(gated []carrel.Operation) []string {
	var out []string
	for _, entry := range e.entries {
		if entry.Kind == builtin || entry.fn != nil {
			continue
		}
		declared := !slices.Equal(entry.Governs, fileOperations)
		for _, op := range entry.Governs {
			operator := slices.Contains(carrel.OperatorOperations, op)
			if declared && !operator && !slices.Contains(gated, op) {
				out = append(out, fmt.Sprintf("%s: %s governs %s, which this tier does not put to the policy", entry.Layer, entry.Where, op))
			}
		}
		out = append(out, entry.named(gated)...)
	}
	return out
}

// named looks for operations in expressions that mention input.operation.
func (v voice) named(gated []carrel.Operation) []string {
	var out []string
	for _, use := range v.Named {
		switch {
		case !slices.Contains(v.Governs, use.Operation):
			out = append(out, fmt.Sprintf("%s: %s:%d names %s, which the layer does not govern; say `governs := {…}`", v.Layer, use.File, use.Line, use.Operation))
		case !slices.Contains(gated, use.Operation) && !slices.Contains(carrel.OperatorOperations, use.Operation):
			out = append(out, fmt.Sprintf("%s: %s:%d names %s, which this tier does not put to the policy", v.Layer, use.File, use.Line, use.Operation))
		}
	}
	return out
}

// use is a place where a rule names an operation.
type use struct {
	Operation carrel.Operation `json:"operation"`
	File      string           `json:"file"`
	Line      int              `json:"line"`
}

func operationsNamed(m module) []use {
	var out []use
	ref := ast.MustParseRef("input.operation")
	ast.WalkExprs(m.ast, func(x *ast.Expr) bool {
		mentions := false
		ast.WalkRefs(x, func(r ast.Ref) bool {
			mentions = mentions || r.Equal(ref)
			return false
		})
		if !mentions {
			return false
		}
		ast.WalkTerms(x, func(t *ast.Term) bool {
			s, ok := t.Value.(ast.String)
			op := carrel.Operation(s)
			if ok && (slices.Contains(carrel.AgentOperations, op) || slices.Contains(carrel.OperatorOperations, op)) {
				if u := (use{op, m.file.Name, x.Location.Row}); !slices.Contains(out, u) {
					out = append(out, u)
				}
			}
			return false
		})
		return false
	})
	return out
}
