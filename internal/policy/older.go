package policy

import (
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// ExplainRecorded explains what was decided on the input with the recorded
// digest. Of an action whose input had fields less then, it decides on that
// older input, and Lacked names them. Explanation.Decision.Input says whether
// the input was found.
func (e *Engine) ExplainRecorded(a carrel.Action, at time.Time, recorded carrel.Digest) Explanation {
	x := e.ExplainAt(a, at)
	if recorded == "" || x.Decision.Input == recorded || x.Input == nil {
		return x
	}
	in, lacked := olderInput(a)
	if lacked == nil {
		return x
	}
	if d, voices, seen := e.decideOn(in, a, at); seen.digest == recorded {
		return Explanation{Action: a, Decision: d, Voices: voices, Input: seen.json, Lacked: lacked, Sources: e.Sources(), in: seen}
	}
	return x
}

// olderInput is a's input before fields were added to it, if any were:
// commands had no `programs`, and were classed by the one name of `program`.
func olderInput(a carrel.Action) (older input, lacked []string) {
	in, err := newInput(a)
	known, cerr := classes()
	if err != nil || cerr != nil || a.Operation != carrel.OpExec {
		return input{}, nil
	}
	var doc object
	in.value.Value.(ast.Object).Foreach(func(k, v *ast.Term) {
		if name, _ := k.Value.(ast.String); name != "programs" && name != "classes" {
			doc = append(doc, [2]*ast.Term{k, v})
		}
	})
	doc.strings("classes", known.ofCommand([]string{programName(a)}, a.Argv))
	return sealed(ast.NewObject(doc...)), []string{"programs"}
}
