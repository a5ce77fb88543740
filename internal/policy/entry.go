package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// DefaultEntry is the package that is asked unless a policy says otherwise.
const DefaultEntry = "data.cowork.access"

// fileOperations is what a policy without a declaration governs.
var fileOperations = []carrel.Operation{carrel.OpRead, carrel.OpWrite, carrel.OpDelete}

// entry is one voice: a package of a layer, or a Go function. Its namespace is
// its own: it shares no compiler and no data with any other layer.
type entry struct {
	layer   string
	kind    Kind
	pkg     string // "data.cowork.access"; empty for a function
	where   string // file of the declaration, for messages
	governs []carrel.Operation
	ceiling []carrel.Operation // governed, and its allow is no grant

	fn      func(carrel.Action) Answer
	prepare func() (*question, error) // once, safe for concurrent use
	modules []module                  // nil for a built-in entry
	memory  memory
}

// newEntry makes the voice of package pkg among compiled modules.
func newEntry(l Layer, pkg string, modules []module, c *ast.Compiler) (*entry, error) {
	e := &entry{layer: l.Name, kind: l.Kind, pkg: pkg, modules: modules, governs: fileOperations}
	said := false
	for _, m := range modules {
		if m.pkg() != pkg {
			continue
		}
		if e.where == "" {
			e.where = m.file.Name
		}
		if err := e.declare(m, &said); err != nil {
			return nil, err
		}
	}
	q, err := e.question(c)
	if err != nil {
		return nil, err
	}
	e.prepare = func() (*question, error) { return q, nil }
	return e, nil
}

// declare reads `governs` and `ceiling` of one file of the entry's package.
func (e *entry) declare(m module, said *bool) error {
	names, ok, err := m.constant("governs")
	if err != nil || !ok {
		return err
	}
	if *said {
		return fmt.Errorf("%s: `governs` of %s is already said in another file", m.file.Name, e.pkg)
	}
	*said, e.where = true, m.file.Name
	if e.governs, err = operations(names); err != nil {
		return fmt.Errorf("%s: `governs`: %w", m.file.Name, err)
	}
	for _, op := range e.governs {
		if e.kind == User && slices.Contains(carrel.OperatorOperations, op) {
			return fmt.Errorf("%s: only the organisation's policy may govern %q", m.file.Name, op)
		}
	}
	ceiling, _, err := m.constant("ceiling")
	if err != nil {
		return err
	}
	e.ceiling, err = operations(ceiling)
	return err
}

// question makes the query of an entry. It refuses an entry that could never
// answer, or whose denials would never be seen.
func (e *entry) question(c *ast.Compiler) (*question, error) {
	ref, err := ast.ParseRef(e.pkg)
	if err != nil {
		return nil, fmt.Errorf("entry point %q: %w", e.pkg, err)
	}
	answers := 0
	for _, name := range answerNames {
		for _, r := range c.GetRulesExact(ref.Append(ast.StringTerm(name))) {
			answers++
			if len(r.Head.Args) > 0 {
				return nil, fmt.Errorf("%s: `%s` is a function; it must be a rule", r.Location, name)
			}
		}
		if rules := c.GetRulesWithPrefix(ref.Append(ast.StringTerm(name))); len(rules) > 0 {
			answers++
		}
	}
	if answers == 0 {
		return nil, fmt.Errorf("no rule `allow`, `deny` or `ask` in %s", e.pkg)
	}
	return newQuestion(c, ref), nil
}

// ask returns the entry's answer to a, whose checked input is in.
func (e *entry) ask(a carrel.Action, in input) (answer Answer) {
	defer func() {
		if p := recover(); p != nil {
			answer = fault("fault", fmt.Sprintf("the policy failed: %v", p))
		}
	}()
	if e.fn != nil {
		return e.fn(a.Clone())
	}
	if answer, ok := e.memory.get(in.digest); ok {
		return answer
	}
	q, err := e.prepare()
	if err != nil {
		return fault("not-prepared", err.Error())
	}
	answer, ok := q.answer(in.value)
	if ok {
		e.memory.put(in.digest, answer)
	}
	return answer
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return s[:min(len(s), 500)]
}

// rules names the answer's rules as decisions do: "layer/rule".
func (e *entry) rules(a Answer) []string {
	out := make([]string, len(a.Rules))
	for i, r := range a.Rules {
		out[i] = e.layer + "/" + r
	}
	return out
}
