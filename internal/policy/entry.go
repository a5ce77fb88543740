package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/carrel-dev/carrel"
)

// DefaultEntry is the package that is asked unless a policy says otherwise.
const DefaultEntry = "data.cowork.access"

// fileOperations is what a policy without a declaration governs.
var fileOperations = []carrel.Operation{carrel.OpRead, carrel.OpWrite, carrel.OpDelete}

// deadline bounds the evaluation of one entry. Deciding takes microseconds, so
// a policy that needs longer is broken or hostile; but it is wall time, and a
// machine that the agent's build keeps busy must not turn into denials.
const deadline = 2 * time.Second

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
	prepare func() (rego.PreparedEvalQuery, error) // once, safe for concurrent use
	modules []module                               // nil for a built-in entry
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
	if err := e.check(c); err != nil {
		return nil, err
	}
	prepared, err := prepareQuery(c, pkg)
	if err != nil {
		return nil, fmt.Errorf("%s: preparing %s: %w", e.where, pkg, err)
	}
	e.prepare = func() (rego.PreparedEvalQuery, error) { return prepared, nil }
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

// check refuses an entry that could never answer, or whose denials would
// never be seen.
func (e *entry) check(c *ast.Compiler) error {
	ref, err := ast.ParseRef(e.pkg)
	if err != nil {
		return fmt.Errorf("entry point %q: %w", e.pkg, err)
	}
	answers := 0
	for _, name := range []string{"allow", "deny", "ask"} {
		for _, r := range c.GetRulesExact(ref.Append(ast.StringTerm(name))) {
			answers++
			if len(r.Head.Args) > 0 {
				return fmt.Errorf("%s: `%s` is a function; it must be a rule", r.Location, name)
			}
		}
		if rules := c.GetRulesWithPrefix(ref.Append(ast.StringTerm(name))); len(rules) > 0 {
			answers++
		}
	}
	if answers == 0 {
		return fmt.Errorf("no rule `allow`, `deny` or `ask` in %s", e.pkg)
	}
	return nil
}

// prepareQuery asks for all three answers at once. A comprehension turns what
// is undefined into an empty array, so that one missing rule hides no other.
func prepareQuery(c *ast.Compiler, pkg string) (rego.PreparedEvalQuery, error) {
	const query = "[x | x := %[1]s.allow]; [x | x := %[1]s.deny]; [x | x := %[1]s.ask]"
	return rego.New(
		rego.Query(fmt.Sprintf(query, pkg)),
		rego.Compiler(c),
		rego.Capabilities(capabilities()),
		rego.StrictBuiltinErrors(true),
	).PrepareForEval(context.Background())
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
	prepared, err := e.prepare()
	if err != nil {
		return fault("not-prepared", err.Error())
	}
	answer, ok := e.eval(prepared, in)
	if ok {
		e.memory.put(in.digest, answer)
	}
	return answer
}

// eval asks the policy. ok says that it answered, rather than failed.
func (e *entry) eval(prepared rego.PreparedEvalQuery, in input) (answer Answer, ok bool) {
	cancel := topdown.NewCancel()
	defer time.AfterFunc(deadline, cancel.Cancel).Stop()
	results, err := prepared.Eval(context.Background(), rego.EvalParsedInput(in.value.Value), rego.EvalExternalCancel(cancel), rego.EvalMetrics(metrics.NoOp()))
	switch {
	case topdown.IsCancel(err):
		return fault("time-out", fmt.Sprintf("the policy did not answer within %v", deadline)), false
	case err != nil:
		return fault("error", "the policy failed: "+oneLine(err.Error())), false
	case len(results) != 1 || len(results[0].Expressions) != 3:
		return fault("undefined", "the policy gave no answer"), false
	}
	values := results[0].Expressions
	return interpret(values[0].Value, values[1].Value, values[2].Value), true
}

func fault(rule, reason string) Answer {
	return Answer{Verdict: carrel.Deny, Rules: []string{rule}, Reason: reason}
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
