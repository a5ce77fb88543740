package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/spec"
)

// Severity says what a finding of Check means for the policy.
type Severity string

// The severities: an error keeps the policy from being used or read as meant,
// a hole lets something by that a rule seems to stop, and a note is worth a look.
const (
	Fault Severity = "error"
	Hole  Severity = "hole"
	Note  Severity = "note"
)

// Finding is one thing that Check has to say about a policy.
type Finding struct {
	Severity Severity `json:"severity"`
	Check    string   `json:"check"` // such as "prefix-without-slash"
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`
	Message  string   `json:"message"`
	// Example is an input that shows it: the layer answers it as Layer says,
	// and with the floor the verdict is Whole.
	Example json.RawMessage `json:"example,omitempty"`
	Layer   carrel.Verdict  `json:"layer,omitempty"`
	Whole   carrel.Verdict  `json:"whole,omitempty"`
}

// Caught reports whether the built-in floor stops what the finding shows.
func (f Finding) Caught() bool { return f.Example != nil && f.Whole != carrel.Allow }

// Report is what Check has to say.
type Report struct {
	Files    []SourceFile       `json:"files"`
	Packages []string           `json:"packages"` // that are asked
	Governs  []carrel.Operation `json:"governs"`
	Findings []Finding          `json:"findings"`
}

// Check reads a layer as New would, with more care: strictly, with the types
// of the input, and by trying it with inputs that its own words suggest: twice
// the rules take four times as long. progress, if not nil, hears how many rules
// of how many were tried. It bounds the memory of this process, and returns
// ctx's error if that ends first.
func Check(ctx context.Context, l Layer, progress func(done, total int64)) (Report, error) {
	r := Report{Findings: []Finding{}}
	e, err := NewHere(ctx, l)
	if err != nil {
		return r, err
	}
	p, err := compileLayer(l)
	if err != nil {
		return r, err
	}
	c := &checker{program: p, engine: e, layer: l.Name, report: &r, fields: meaningsOf(p.modules), spoken: wordsOf(p.modules)}
	for _, v := range p.voices {
		r.Files, r.Packages = v.Files, append(r.Packages, v.Package)
		for _, op := range v.Governs {
			if !slices.Contains(r.Governs, op) {
				r.Governs = append(r.Governs, op)
			}
		}
	}
	c.strictly()
	c.types()
	c.unasked()
	c.unreachable()
	c.tautologies()
	if err := c.holes(ctx, progress); err != nil {
		return r, err
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return weight(a) - weight(b) })
	return r, nil
}

func weight(f Finding) int {
	switch {
	case f.Severity == Fault:
		return 0
	case f.Severity == Hole && !f.Caught():
		return 1
	case f.Severity == Hole:
		return 2
	}
	return 3
}

// checker collects findings about one layer.
type checker struct {
	program *program
	engine  *Engine
	layer   string
	report  *Report
	fields  meanings
	spoken  words
}

func (c *checker) add(severity Severity, check string, at *ast.Location, format string, args ...any) {
	f := Finding{Severity: severity, Check: check, Message: fmt.Sprintf(format, args...)}
	if at != nil {
		f.File, f.Line = at.File, at.Row
	}
	c.report.Findings = append(c.report.Findings, f)
}

// show adds a hole with the action that shows it.
func (c *checker) show(check string, at *ast.Location, a carrel.Action, format string, args ...any) {
	c.shown(Hole, check, at, a, format, args...)
}

// shown adds a finding with the action that shows it, unless the same place has
// one of its kind.
func (c *checker) shown(severity Severity, check string, at *ast.Location, a carrel.Action, format string, args ...any) {
	for _, f := range c.report.Findings {
		if f.Check == check && f.File == at.File && f.Line == at.Row {
			return
		}
	}
	c.add(severity, check, at, format, args...)
	f := &c.report.Findings[len(c.report.Findings)-1]
	f.Layer, f.Whole = c.own(a).Verdict, c.engine.Decide(context.Background(), a).Verdict
	if in, err := newInput(a); err == nil {
		f.Example = exampleJSON(in)
	}
}

// exampleJSON is the input without what Carrel computes itself.
func exampleJSON(in input) json.RawMessage {
	var doc map[string]json.RawMessage
	if json.Unmarshal(in.json, &doc) != nil {
		return in.json
	}
	for _, name := range []string{"parts", "classes", "program", "programs", "host_is_address", "scheme", "raw_path", "agent", "run", "service"} {
		delete(doc, name)
	}
	if _, ok := doc["url"]; ok {
		delete(doc, "path")
		delete(doc, "query")
	}
	b, err := carrel.Canonical(doc)
	if err != nil {
		return in.json
	}
	return b
}

// own is what the layer itself says: the strictest of its voices.
func (c *checker) own(a carrel.Action) Answer {
	in, err := newInput(a)
	if err != nil {
		return fault("input", err.Error())
	}
	out := Answer{Verdict: carrel.Allow}
	for i, v := range c.program.voices {
		if !slices.Contains(v.Governs, a.Operation) {
			continue
		}
		answer, _ := c.program.questions[i].answer(in.value)
		if answer.Verdict == carrel.Deny || answer.Verdict == carrel.Ask && out.Verdict == carrel.Allow {
			out = answer
		}
	}
	return out
}

// stopped reports whether a rule of the layer denies or asks, rather than
// none allowing.
func stopped(a Answer) bool {
	return a.Verdict != carrel.Allow && !slices.Contains(a.Rules, "not-allowed") && !slices.Contains(a.Rules, "error")
}

// strictly compiles again as `opa check --strict` does.
func (c *checker) strictly() {
	c.compile("strict", ast.NewCompiler().WithCapabilities(capabilities()).WithStrict(true))
}

// types compiles again with the schema of the input, so that a misspelt field
// is an error and not a rule that is never true.
func (c *checker) types() {
	var schema any
	if err := util.Unmarshal(spec.PolicyInputSchema, &schema); err != nil {
		c.add(Fault, "types", nil, "reading the input's schema: %v", err)
		return
	}
	schemas := ast.NewSchemaSet()
	schemas.Put(ast.SchemaRootRef, schema)
	c.compile("types", ast.NewCompiler().WithCapabilities(capabilities()).WithSchemas(schemas))
}

func (c *checker) compile(check string, compiler *ast.Compiler) {
	byName := map[string]*ast.Module{}
	for _, m := range c.program.modules {
		byName[m.file.Name] = m.ast.Copy()
	}
	compiler.Compile(byName)
	var errs ast.Errors
	if !errors.As(compiler.Errors, &errs) {
		return
	}
	for _, e := range errs {
		message := oneLine(e.Message)
		if e.Details != nil {
			message += ": " + oneLine(strings.Join(e.Details.Lines(), " "))
		}
		c.add(Fault, check, e.Location, "%s", message)
	}
}
