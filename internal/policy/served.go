package policy

import (
	"encoding/json"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/policy/evaluator"
)

// Inside reports whether this process was started to evaluate policies, and
// if so does that until its supervisor is gone. Every program that makes
// engines calls it first in main.
func Inside() bool {
	if !evaluator.Inside() {
		return false
	}
	var s served
	evaluator.Serve(s.answer)
	return true
}

// served is the evaluator's side.
type served struct{ questions []*question }

func (s *served) answer(message []byte) []byte {
	var reply any
	switch {
	case len(message) > 0 && message[0] == messageLoad:
		reply = s.load(message[1:])
	case len(message) > 0 && message[0] == messageAsk:
		reply = s.askAll(message[1:])
	case len(message) > 0 && message[0] == messageAbout:
		reply = about(message[1:])
	}
	b, err := json.Marshal(reply)
	if err != nil {
		return nil // which nobody takes for an answer
	}
	return b
}

func (s *served) load(message []byte) (out loaded) {
	defer func() {
		if p := recover(); p != nil {
			out = loaded{Error: fmt.Sprintf("compiling the policy failed: %v", p)}
		}
	}()
	var layers []Layer
	if err := json.Unmarshal(message, &layers); err != nil {
		return loaded{Error: err.Error()}
	}
	for _, l := range layers {
		p, err := compileLayer(l)
		if err != nil {
			return loaded{Error: fmt.Sprintf("policy layer %s: %v", l.Name, err)}
		}
		out.Voices = append(out.Voices, p.voices...)
		s.questions = append(s.questions, p.questions...)
	}
	return out
}

// askAll answers questions up to one that cannot be read.
func (s *served) askAll(message []byte) []answered {
	var out []answered
	var value *ast.Term
	for {
		voice, input, rest, ok := nextQuestion(message)
		if !ok {
			return out
		}
		if len(input) > 0 {
			var err error
			if value, err = parseCanonical(input); err != nil {
				return out
			}
		}
		if value == nil || voice >= len(s.questions) {
			return out
		}
		out = append(out, answerTo(s.questions[voice], value))
		message = rest
	}
}

// answerTo is the answer in a form that says nothing but allow, ask and deny.
func answerTo(q *question, value *ast.Term) (out answered) {
	defer func() {
		if p := recover(); p != nil {
			out = answered{Answer: fault("fault", fmt.Sprintf("the policy failed: %v", p))}
		}
	}()
	out.Answer, out.OK = q.answer(value)
	if out.Answer.Verdict != carrel.Allow && out.Answer.Verdict != carrel.Ask {
		out.Answer.Verdict = carrel.Deny
	}
	return out
}
