package policy

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Page is where the documentation of this repository explains a built-in rule,
// as decisions name it ("builtin/ci"); "" for what is no such rule.
func Page(rule string) string {
	name, ok := strings.CutPrefix(rule, Builtin+"/")
	if names, err := builtinRules(); !ok || err != nil || !slices.Contains(names, name) {
		return ""
	}
	return "docs/rules.md#" + name
}

// builtinRules are the names that the built-in rules answer with, sorted.
var builtinRules = sync.OnceValues(func() ([]string, error) {
	_, files, err := builtinEntries()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range files {
		m, err := ast.ParseModuleWithOpts(f.Name, string(f.Source), ast.ParserOptions{RegoVersion: ast.RegoV1})
		if err != nil {
			return nil, fmt.Errorf("reading the built-in policy: %w", err)
		}
		for _, r := range m.Rules {
			if slices.Contains(answerNames[:], string(r.Head.Name)) && r.Head.Key != nil {
				out = append(out, namesOf(r.Head.Key, m)...)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
})

// namesOf are the names in an answer: the one it says, or, where a variable
// says it, every key of the table that its reason is taken from.
func namesOf(answer *ast.Term, m *ast.Module) []string {
	object, ok := answer.Value.(ast.Object)
	if !ok {
		return nil
	}
	rule, reason := object.Get(ast.StringTerm("rule")), object.Get(ast.StringTerm("msg"))
	if rule == nil || reason == nil {
		return nil
	}
	if name, ok := rule.Value.(ast.String); ok {
		return []string{string(name)}
	}
	table, ok := reason.Value.(ast.Ref)
	if !ok {
		return nil
	}
	var out []string
	for _, r := range m.Rules {
		if r.Head.Value == nil || r.Head.Ref().String() != table[0].String() {
			continue
		}
		if texts, ok := r.Head.Value.Value.(ast.Object); ok {
			texts.Foreach(func(key, _ *ast.Term) { out = append(out, strings.Trim(key.Value.String(), `"`)) })
		}
	}
	return out
}
