package policy

import (
	"context"
	"fmt"
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
	compiler *ast.Compiler
	body     ast.Body
	data     base
	tracer   topdown.QueryTracer // nil: nobody looks on
}

// answerNames are the rules of an entry, in the order a question asks them.
var answerNames = [3]string{"allow", "deny", "ask"}

// newQuestion writes the query in the form that compiling it would give: a
// comprehension for each answer turns what is undefined into an empty array,
// so that one missing rule hides no other.
func newQuestion(c *ast.Compiler, pkg ast.Ref, data base) *question {
	body := make(ast.Body, 0, len(answerNames))
	for i, name := range answerNames {
		ref := ast.NewTerm(pkg.Append(ast.StringTerm(name)))
		value := ast.VarTerm(fmt.Sprintf("__value%d__", i))
		all := ast.ArrayComprehensionTerm(value, ast.NewBody(ast.Equality.Expr(value, ref)))
		body.Append(ast.Equality.Expr(ast.VarTerm(name), all))
	}
	return &question{compiler: c, body: body, data: data}
}

// answer evaluates the question. ok says that the policy answered, rather
// than failed.
func (q *question) answer(input *ast.Term) (answer Answer, ok bool) {
	values, err := q.values(input)
	switch {
	case topdown.IsCancel(err):
		return fault("time-out", fmt.Sprintf("the policy did not answer within %v", deadline)), false
	case err != nil:
		return fault("error", "the policy failed: "+oneLine(err.Error())), false
	}
	return interpret(values[0], values[1], values[2]), true
}

// values returns what the three rules say, each as an array that is empty
// where the rule is undefined.
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
		WithStrictBuiltinErrors(true)
	if q.tracer != nil {
		query = query.WithQueryTracer(q.tracer)
	}
	answers := 0
	err = query.Iter(context.Background(), func(r topdown.QueryResult) error {
		answers++
		for i, name := range answerNames {
			out[i] = r[ast.Var(name)].Value
		}
		return nil
	})
	if err == nil && answers != 1 {
		err = fmt.Errorf("%d answers instead of one", answers)
	}
	return out, err
}

var (
	noMetrics = metrics.NoOp()
	epoch     = time.Unix(1, 0)
)

func fault(rule, reason string) Answer {
	return Answer{Verdict: carrel.Deny, Rules: []string{rule}, Reason: reason}
}
