package policy

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/carrel-dev/carrel"
)

// deadline bounds the evaluation of one entry. Deciding takes microseconds, so
// a policy that needs longer is broken or hostile; but it is wall time, and a
// machine that the agent's build keeps busy must not turn into denials.
const deadline = 2 * time.Second

// question asks one compiled package for all three answers at once. It is safe
// for concurrent use.
type question struct {
	compiler  *ast.Compiler
	body      ast.Body
	collected [3]bool // the answer comes as an array that is empty if it is undefined
	data      base
	tracer    topdown.QueryTracer // nil: nobody looks on
}

// answerNames are the rules of an entry, in the order a question asks them.
var answerNames = [3]string{"allow", "deny", "ask"}

// newQuestion writes the query in the form that compiling it would give. An
// answer that can be undefined is collected by a comprehension, so that one
// missing rule hides no other; one that cannot is asked for plainly, and one
// that no rule gives not at all: comprehensions cost as much as rules.
func newQuestion(c *ast.Compiler, pkg ast.Ref, data base) *question {
	q := &question{compiler: c, body: make(ast.Body, 0, len(answerNames)), data: data}
	for i, name := range answerNames {
		ref := ast.NewTerm(pkg.Append(ast.StringTerm(name)))
		variable := ast.VarTerm(name)
		switch {
		case len(c.GetRulesWithPrefix(ref.Value.(ast.Ref))) == 0:
			continue
		case alwaysDefined(c, ref.Value.(ast.Ref)):
			q.body.Append(ast.Equality.Expr(variable, ref))
		default:
			value := ast.VarTerm(fmt.Sprintf("__value%d__", i))
			q.collected[i] = true
			q.body.Append(ast.Equality.Expr(variable, ast.ArrayComprehensionTerm(value, ast.NewBody(ast.Equality.Expr(value, ref)))))
		}
	}
	return q
}

// alwaysDefined reports whether the rules at ref give a value or an error,
// whatever the input: they are a set, or one of them is a default.
func alwaysDefined(c *ast.Compiler, ref ast.Ref) bool {
	exact := c.GetRulesExact(ref)
	if len(exact) == 0 || len(exact) != len(c.GetRulesWithPrefix(ref)) {
		return false
	}
	isSet := func(r *ast.Rule) bool { return r.Head.RuleKind() == ast.MultiValue && r.Ref().Equal(ref) }
	return !slices.ContainsFunc(exact, func(r *ast.Rule) bool { return !isSet(r) }) ||
		slices.ContainsFunc(exact, func(r *ast.Rule) bool { return r.Default })
}

// answer evaluates the question. ok says that the policy answered, rather
// than failed.
func (q *question) answer(input *ast.Term) (answer Answer, ok bool) {
	values, err := q.values(input)
	switch {
	case topdown.IsCancel(err):
		return fault(timedOut, fmt.Sprintf("the policy did not answer within %v", deadline)), false
	case err != nil:
		return fault("error", "the policy failed: "+oneLine(err.Error())), false
	}
	return interpret(values[0], values[1], values[2]), true
}

// values returns what the three rules say, nil for one that is undefined.
func (q *question) values(input *ast.Term) (out [3]ast.Value, err error) {
	cancel := topdown.NewCancel()
	defer time.AfterFunc(deadline, cancel.Cancel).Stop()
	query := topdown.NewQuery(q.body).
		WithCompiler(q.compiler).
		WithStore(q.data).
		WithInput(input).
		WithCancel(cancel).
		WithMetrics(noMetrics).
		WithTime(epoch). // no function that reads the clock exists; asking for it costs
		WithVirtualCache(newRuleCache()).
		WithStrictBuiltinErrors(true)
	if q.tracer != nil {
		query = query.WithQueryTracer(q.tracer)
	}
	answers := 0
	err = query.Iter(context.Background(), func(r topdown.QueryResult) error {
		answers++
		out = q.read(r)
		return nil
	})
	if err == nil && answers != 1 {
		err = fmt.Errorf("%d answers instead of one", answers)
	}
	return out, err
}

// read takes the values out of an answer.
func (q *question) read(r topdown.QueryResult) (out [3]ast.Value) {
	for i, name := range answerNames {
		t := r[ast.Var(name)]
		if t == nil {
			continue
		}
		out[i] = t.Value
		if !q.collected[i] {
			continue
		}
		switch list := t.Value.(*ast.Array); list.Len() {
		case 0:
			out[i] = nil
		case 1:
			out[i] = list.Elem(0).Value
		}
	}
	return out
}

var (
	noMetrics = metrics.NoOp()
	epoch     = time.Unix(1, 0)
)

// timedOut is the rule of a policy that did not answer in time.
const timedOut = "time-out"

func fault(rule, reason string) Answer {
	return Answer{Verdict: carrel.Deny, Rules: []string{rule}, Reason: reason}
}
