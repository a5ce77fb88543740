package policy

import (
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel"
)

// DefaultEntry is the package that is asked unless a policy says otherwise.
const DefaultEntry = "data.cowork.access"

// fileOperations is what a policy without a declaration governs.
var fileOperations = []carrel.Operation{carrel.OpRead, carrel.OpWrite, carrel.OpDelete}

// entry is one voice that can be asked: one of fn, ask and remote is set. Its
// fields are set once.
type entry struct {
	voice
	fn      func(carrel.Action) Answer // of a layer in Go
	ask     func(input) (Answer, bool) // of Rego in this process; false: it failed rather than answered
	remote  *remote                    // of Rego in another, whose voice has this index
	index   int
	prepare func() // nil, or compiles what is compiled late
	memory  memory[Answer]
}

// answer returns the answer to a, whose checked input is in, of an entry that
// this process evaluates.
func (e *entry) answer(a carrel.Action, in input) (answer Answer) {
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
	answer, ok := e.ask(in)
	e.remember(in, answered{answer, ok})
	return answer
}

// remember keeps what a policy answered, unless it looks at the time: with
// that in it no input comes again.
func (e *entry) remember(in input, a answered) {
	if a.OK && !e.Time {
		e.memory.put(in.digest, a.Answer)
	}
}

// asking is one action being put to the voices that govern it.
type asking struct {
	voices  []*entry
	inputs  []input // what each of them sees
	answers []Answer
}

// answerAll asks everybody: first the other processes, then, while those are
// at it, whoever this process evaluates.
func (q *asking) answerAll(a carrel.Action, remotes []*remote) {
	var waits []func()
	for _, r := range remotes {
		if wait := q.begin(r); wait != nil {
			waits = append(waits, wait)
		}
	}
	for i, e := range q.voices {
		if e.remote == nil {
			q.answers[i] = e.answer(a, q.inputs[i])
		}
	}
	for _, wait := range waits {
		wait()
	}
}

// begin puts to r what its voices do not remember, and returns what waits for
// the answers; nil if there is nothing to ask.
func (q *asking) begin(r *remote) (wait func()) {
	var questions []asked
	var of []int
	for i, e := range q.voices {
		if e.remote != r {
			continue
		}
		answer, known := e.memory.get(q.inputs[i].digest)
		if known {
			q.answers[i] = answer
			continue
		}
		questions, of = append(questions, asked{e.index, q.inputs[i]}), append(of, i)
	}
	if len(questions) == 0 {
		return nil
	}
	answers := r.begin(questions)
	return func() {
		for n, a := range answers() {
			q.answers[of[n]] = a.Answer
			q.voices[of[n]].remember(q.inputs[of[n]], a)
		}
	}
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return s[:min(len(s), 500)]
}

// rules names the answer's rules as decisions do: "layer/rule".
func (e *entry) rules(a Answer) []string {
	out := make([]string, len(a.Rules))
	for i, r := range a.Rules {
		out[i] = e.Layer + "/" + r
	}
	return out
}
