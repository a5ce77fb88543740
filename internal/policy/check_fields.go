package policy

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// meanings say which field of the input a variable of a rule stands for: one
// that the body assigns, or a parameter that every call gives the same field.
type meanings map[*ast.Rule]map[ast.Var]string

// commandLine is the field that `concat(" ", input.argv)` stands for.
const commandLine = "command line"

// maxThrough bounds through how many functions a field is followed.
const maxThrough = 4

func meaningsOf(modules []module) meanings {
	m := meanings{}
	var rules []*ast.Rule
	for _, mod := range modules {
		ast.WalkRules(mod.ast, func(r *ast.Rule) bool {
			rules, m[r] = append(rules, r), map[ast.Var]string{}
			return false
		})
	}
	for range maxThrough {
		given := map[parameter]string{}
		for _, r := range rules {
			m.assigned(r)
			m.calls(r, given)
		}
		for _, r := range rules {
			for i, arg := range r.Head.Args {
				if v, ok := arg.Value.(ast.Var); ok {
					m[r][v] = given[parameter{string(r.Head.Name), i}]
				}
			}
		}
	}
	return m
}

// parameter is the place of an argument of a function, by its last name.
type parameter struct {
	function string
	place    int
}

func (m meanings) assigned(r *ast.Rule) {
	ast.WalkExprs(r.Body, func(x *ast.Expr) bool {
		if x.IsCall() && len(x.Operands()) == 2 && slices.Contains([]string{"assign", "eq"}, x.Operator().String()) {
			if v, ok := x.Operand(0).Value.(ast.Var); ok {
				m[r][v] = m.field(r, x.Operand(1))
			}
		}
		return false
	})
}

// calls notes what functions are called with. Two meanings are none.
func (m meanings) calls(r *ast.Rule, given map[parameter]string) {
	note := func(terms []*ast.Term) {
		ref, ok := terms[0].Value.(ast.Ref)
		if !ok {
			return
		}
		name, ok := ref[len(ref)-1].Value.(ast.String)
		if v, single := ref[0].Value.(ast.Var); single && len(ref) == 1 {
			name, ok = ast.String(v), true
		}
		for i, arg := range terms[1:] {
			p, field := parameter{string(name), i}, m.field(r, arg)
			if before, seen := given[p]; ok && seen && before != field {
				field = ""
			}
			given[p] = field
		}
	}
	ast.WalkExprs(r, func(x *ast.Expr) bool {
		if terms, ok := x.Terms.([]*ast.Term); ok {
			note(terms)
		}
		return false
	})
	ast.WalkTerms(r, func(t *ast.Term) bool {
		if call, ok := t.Value.(ast.Call); ok {
			note(call)
		}
		return false
	})
}

// field is the top field of the input that a term shows, "" if none: the field
// itself, a variable for it, its lower case, or the words of a command in a line.
func (m meanings) field(r *ast.Rule, t *ast.Term) string {
	switch v := t.Value.(type) {
	case ast.Ref:
		if len(v) > 1 && v[0].Equal(ast.InputRootDocument) {
			name, _ := v[1].Value.(ast.String)
			return string(name)
		}
		if name, ok := v[0].Value.(ast.Var); ok && len(v) > 1 {
			return m[r][name]
		}
	case ast.Var:
		return m[r][v]
	case ast.Call:
		switch {
		case len(v) == 2 && v[0].String() == "lower":
			return m.field(r, v[1])
		case len(v) == 3 && v[0].String() == "concat" && m.field(r, v[2]) == "argv":
			return commandLine
		}
	}
	return ""
}

// test is a function of text applied to a field, as startswith(input.path, "/x").
type test struct {
	function, field, text string
	negated               bool
	at                    *ast.Location
}

func (c *checker) testsOf(r *ast.Rule) []test {
	var out []test
	ast.WalkExprs(r, func(x *ast.Expr) bool {
		if !x.IsCall() || len(x.Operands()) != 2 {
			return false
		}
		for _, side := range [][2]int{{0, 1}, {1, 0}} {
			field := c.fields.field(r, x.Operand(side[0]))
			if text, ok := x.Operand(side[1]).Value.(ast.String); ok && field != "" {
				out = append(out, test{x.Operator().String(), field, string(text), x.Negated, x.Location})
			}
		}
		return false
	})
	return out
}
