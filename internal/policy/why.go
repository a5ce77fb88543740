package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/policy/evaluator"
)

// Fired is a rule that held for an action, and what it looked at.
type Fired struct {
	Layer  string                     `json:"layer"`
	Answer string                     `json:"answer"` // allow, deny or ask
	File   string                     `json:"file"`
	Line   int                        `json:"line"`
	Text   string                     `json:"text"`  // its first line
	Reads  map[string]json.RawMessage `json:"reads"` // fields of the input
}

// RuleInfo is one rule of a policy that answers.
type RuleInfo struct {
	Layer   string             `json:"layer"`
	Package string             `json:"package"`
	Answer  string             `json:"answer"`
	Governs []carrel.Operation `json:"governs"`
	File    string             `json:"file"`
	Line    int                `json:"line"`
	Text    string             `json:"text"`
}

// programs compiles the built-in files and every Rego layer in this process,
// whose memory it bounds.
func programs(layers []Layer) ([]*program, error) {
	if err := evaluator.Bound(); err != nil {
		return nil, err
	}
	_, files, err := builtinEntries()
	if err != nil {
		return nil, err
	}
	var out []*program
	for _, f := range files {
		layers = append(layers, Layer{Name: string(builtin), Kind: Organisation, Files: []File{f}})
	}
	for _, l := range layers {
		if l.Func != nil {
			continue
		}
		p, err := compileLayer(l)
		if err != nil {
			return nil, fmt.Errorf("policy layer %s: %w", l.Name, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// Rules lists the answering rules of the floor and of the Rego layers.
func Rules(layers ...Layer) ([]RuleInfo, error) {
	all, err := programs(slices.Clone(layers))
	if err != nil {
		return nil, err
	}
	var out []RuleInfo
	for _, p := range all {
		for _, v := range p.voices {
			for _, m := range p.modules {
				if m.pkg() == v.Package {
					out = append(out, v.rules(m)...)
				}
			}
		}
	}
	return out, nil
}

func (v voice) rules(m module) []RuleInfo {
	var out []RuleInfo
	for _, r := range m.ast.Rules {
		name := string(r.Head.Name)
		if slices.Contains(answerNames[:], name) {
			out = append(out, RuleInfo{v.Layer, v.Package, name, v.Governs, m.file.Name, r.Location.Row, m.line(r.Location.Row)})
		}
	}
	return out
}

// line is one line of the source.
func (m module) line(row int) string {
	lines := strings.Split(string(m.file.Source), "\n")
	if row < 1 || row > len(lines) {
		return ""
	}
	return strings.TrimSpace(lines[row-1])
}

// FiredBy evaluates the Rego layers and the floor in this process and returns
// the answering rules that held for what x explains.
func FiredBy(x Explanation, layers ...Layer) ([]Fired, error) {
	if x.in.value == nil {
		return nil, nil // it never reached a rule
	}
	all, err := programs(slices.Clone(layers))
	if err != nil {
		return nil, err
	}
	var out []Fired
	for _, p := range all {
		for i, v := range p.voices {
			if slices.Contains(v.Governs, x.Action.Operation) {
				out = append(out, p.fired(i, x.in)...)
			}
		}
	}
	return out, nil
}

func (p *program) fired(voice int, in input) []Fired {
	q := *p.questions[voice]
	held := &heldRules{}
	q.tracer = held
	q.answer(in.value)
	var out []Fired
	for _, r := range held.rules {
		name := string(r.Head.Name)
		i := slices.IndexFunc(p.modules, func(m module) bool { return m.file.Name == r.Location.File })
		if i < 0 || r.Default || !slices.Contains(answerNames[:], name) || p.modules[i].pkg() != p.voices[voice].Package {
			continue
		}
		f := Fired{p.voices[voice].Layer, name, r.Location.File, r.Location.Row, p.modules[i].line(r.Location.Row), reads(r, in)}
		if !slices.ContainsFunc(out, func(o Fired) bool { return o.File == f.File && o.Line == f.Line }) {
			out = append(out, f)
		}
	}
	return out
}

// reads are the fields of the input that a rule's text names, with their
// values.
func reads(r *ast.Rule, in input) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	var doc map[string]json.RawMessage
	if json.Unmarshal(in.json, &doc) != nil {
		return out
	}
	ast.WalkRefs(r, func(ref ast.Ref) bool {
		if len(ref) > 1 && ref[0].Equal(ast.InputRootDocument) {
			if name, ok := ref[1].Value.(ast.String); ok && doc[string(name)] != nil {
				out[string(name)] = doc[string(name)]
			}
		}
		return false
	})
	return out
}

// heldRules is a tracer that keeps the rules whose bodies held.
type heldRules struct{ rules []*ast.Rule }

func (*heldRules) Enabled() bool { return true }

func (*heldRules) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent implements topdown.QueryTracer.
func (h *heldRules) TraceEvent(e topdown.Event) {
	if r, ok := e.Node.(*ast.Rule); ok && e.Op == topdown.ExitOp && !slices.Contains(h.rules, r) {
		h.rules = append(h.rules, r)
	}
}

// Narrowest says, for each voice that stood in the way of a decision, the
// smallest change that would answer otherwise, one line each.
func Narrowest(a carrel.Action, voices []Voice, fired []Fired) []string {
	var out []string
	for _, v := range voices {
		switch {
		case v.Verdict == carrel.Allow:
		case v.Layer == string(builtin):
			out = append(out, "no policy lifts the built-in floor"+then(v.NextSteps))
		case slices.ContainsFunc(v.Rules, func(r string) bool { return strings.HasSuffix(r, "/not-allowed") }):
			out = append(out, fmt.Sprintf("in layer %s, a rule that allows just this:\n\n%s\n", v.Layer, RuleFor("allow", a)))
		case len(v.Rules) > 0 && strings.HasSuffix(v.Rules[0], "/not-granted"):
			out = append(out, "a grant in the configuration or of the run"+then(v.NextSteps))
		default:
			out = append(out, fmt.Sprintf("in layer %s, an exception in %s%s", v.Layer, places(v.Layer, fired), then(v.NextSteps)))
		}
	}
	return out
}

func then(steps []string) string {
	if len(steps) == 0 {
		return ""
	}
	return "; " + strings.Join(steps, "; ")
}

func places(layer string, fired []Fired) string {
	var out []string
	for _, f := range fired {
		if f.Layer == layer && f.Answer != "allow" {
			out = append(out, fmt.Sprintf("%s:%d", f.File, f.Line))
		}
	}
	if len(out) == 0 {
		return "its rules"
	}
	return strings.Join(out, ", ")
}

// RuleFor writes a rule that answers exactly this action, whichever run it is of.
func RuleFor(answer string, a carrel.Action) string {
	return answer + " if {\n\t" + strings.Join(ConditionsFor(a), "\n\t") + "\n}"
}

// ConditionsFor are the conditions that hold for exactly this action,
// whichever run it is of, in Rego.
func ConditionsFor(a carrel.Action) []string {
	tests := []string{fmt.Sprintf("input.operation == %q", a.Operation)}
	add := func(field string, value any) {
		if b, err := json.Marshal(value); err == nil {
			tests = append(tests, fmt.Sprintf("input.%s == %s", field, b))
		}
	}
	switch a.Operation {
	case carrel.OpRead, carrel.OpWrite, carrel.OpDelete:
		add("path", a.Path)
		return tests
	case carrel.OpExec:
		if a.Path != "" { // of the program, which argv need not name
			add("path", a.Path)
		}
		add("argv", a.Argv)
		return tests
	case carrel.OpResolve:
		add("host", a.Host)
		return tests
	}
	if a.Subject != "" || a.Host == "" {
		add("subject", a.Subject)
	}
	switch {
	case a.Host != "":
		add("host", a.Host)
		add("port", a.Port)
		add("protocol", a.Protocol)
	case a.Operation == carrel.OpCredential: // a lease, which allows no use
		tests = append(tests, "not input.host")
	}
	if a.Method != "" {
		add("method", a.Method)
		add("url", a.URL)
		add("upgrade", a.Upgrade)
	}
	return tests
}
