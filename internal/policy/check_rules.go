package policy

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// unreachable finds rules whose body can never hold.
func (c *checker) unreachable() {
	for _, v := range c.program.voices {
		for _, use := range v.Named {
			if !slices.Contains(v.Governs, use.Operation) && !c.governedElsewhere(use.Operation) {
				at := &ast.Location{File: use.File, Row: use.Line}
				c.add(Fault, "unreachable", at, "the layer is never asked about %s; say `governs := {…}` with it", use.Operation)
			}
		}
	}
	for _, m := range c.program.modules {
		ast.WalkRules(m.ast, func(r *ast.Rule) bool {
			c.contradiction(r)
			c.misread(r)
			return false
		})
	}
}

func (c *checker) governedElsewhere(op carrel.Operation) bool {
	return slices.Contains(c.report.Governs, op)
}

// contradiction finds a body that asks one field to be two things, to be
// something it never is, or `false`.
func (c *checker) contradiction(r *ast.Rule) {
	values := map[string]*ast.Term{}
	for _, x := range r.Body {
		if t, ok := x.Terms.(*ast.Term); ok && !x.Negated && t.Value.Compare(ast.Boolean(false)) == 0 {
			c.add(Note, "unreachable", x.Location, "the rule can never hold: its body says false")
		}
		ref, value, ok := equality(x)
		if !ok {
			continue
		}
		if ref.Equal(inputOperation) && !knownOperation(value) {
			c.add(Fault, "unreachable", x.Location, "the rule can never hold: %s is not an operation", value)
		}
		if before := values[ref.String()]; before != nil && !before.Equal(value) {
			c.add(Fault, "unreachable", x.Location, "the rule can never hold: %s is %s and %s at once", ref, before, value)
		}
		values[ref.String()] = value
	}
}

// misread finds tests of what a path or a host never looks like.
func (c *checker) misread(r *ast.Rule) {
	const never = "the test never holds: "
	check := func(function, field, text string, at *ast.Location) {
		whole := function == "startswith" || function == "equal" || function == "eq"
		switch {
		case field == "path" && whole && text != "" && !strings.HasPrefix(text, "/"):
			c.add(Fault, "unreachable", at, never+"input.path is absolute, and begins with /workspace/ in the workspace; %q does not", text)
		case field == "path" && (function == "equal" || function == "eq" || function == "endswith") && len(text) > 1 && strings.HasSuffix(text, "/") && !slices.Contains(c.report.Governs, carrel.OpRequest):
			c.add(Fault, "unreachable", at, never+"input.path does not end in a slash, as %q does", text)
		case field == "url" && whole && text != "" && !strings.HasPrefix(text, "/"):
			c.add(Fault, "unreachable", at, never+"input.url is path and query, and begins with a slash; %q does not: compare input.host and input.path", text)
		case field == "host" && text != strings.ToLower(text):
			c.add(Fault, "unreachable", at, never+"input.host is in lower case; %q is not", text)
		}
	}
	for _, t := range c.testsOf(r) {
		check(t.function, t.field, t.text, t.at)
	}
}

var inputOperation = ast.InputRootRef.Append(ast.StringTerm("operation"))

func knownOperation(t *ast.Term) bool {
	s, ok := t.Value.(ast.String)
	op := carrel.Operation(s)
	return ok && (slices.Contains(carrel.AgentOperations, op) || slices.Contains(carrel.OperatorOperations, op))
}

// equality recognises `input.x == "constant"` in either order, also with = and :=.
func equality(x *ast.Expr) (ast.Ref, *ast.Term, bool) {
	if x.Negated || !x.IsCall() || len(x.Operands()) != 2 || !slices.Contains([]string{"equal", "eq"}, x.Operator().String()) {
		return nil, nil, false
	}
	for _, side := range [][2]int{{0, 1}, {1, 0}} {
		ref, ok := x.Operand(side[0]).Value.(ast.Ref)
		value := x.Operand(side[1])
		if ok && ref[0].Equal(ast.InputRootDocument) && ref.IsGround() && ast.IsConstant(value.Value) {
			return ref, value, true
		}
	}
	return nil, nil, false
}

// tautologies finds rules that always hold, and layers that say one thing
// whatever they are asked.
func (c *checker) tautologies() {
	for _, m := range c.program.modules {
		ast.WalkRules(m.ast, func(r *ast.Rule) bool {
			for _, x := range r.Body {
				if x.IsCall() && len(x.Operands()) == 2 && x.Operand(0).Equal(x.Operand(1)) && slices.Contains([]string{"equal", "eq", "gte", "lte"}, x.Operator().String()) {
					c.add(Fault, "tautology", x.Location, "%s always holds", x)
				}
			}
			return false
		})
	}
	tried := probes(c.spoken, c.report.Governs)
	verdicts := map[carrel.Verdict]int{}
	var allowed *carrel.Action
	for i, a := range tried {
		v := c.own(a).Verdict
		verdicts[v]++
		if v == carrel.Allow && (allowed == nil || strings.Contains(a.Path, "/.github/")) {
			allowed = &tried[i]
		}
	}
	at := &ast.Location{File: c.program.voices[0].Where, Row: 1}
	switch {
	case len(tried) == 0:
	case verdicts[carrel.Allow] == len(tried):
		c.show("allows-everything", at, *allowed, "it allows all of %d inputs that were tried", len(tried))
	case verdicts[carrel.Deny] == len(tried):
		c.add(Note, "denies-everything", at, "it denies all of %d inputs that were tried", len(tried))
	}
}
