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

// entry is one voice that can be asked. Its fields are set once.
type entry struct {
	voice
	fn      func(carrel.Action) Answer // of a layer in Go; else nil
	ask     func(input) (Answer, bool) // of Rego; false: it failed rather than answered
	prepare func()                     // nil, or compiles what is compiled late
	memory  memory[Answer]
}

// answer returns the entry's answer to a, whose checked input is in.
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
	if ok && !e.Time { // with the time in it no input comes again
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
		out[i] = e.Layer + "/" + r
	}
	return out
}
