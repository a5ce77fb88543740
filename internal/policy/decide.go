package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/carrel-dev/carrel"
)

// Voice is what one voice of the policy said, for explain.
type Voice struct {
	Layer     string         `json:"layer"`
	Entry     string         `json:"entry,omitempty"`
	Verdict   carrel.Verdict `json:"verdict"`
	Rules     []string       `json:"rules"`
	Reason    string         `json:"reason,omitempty"`
	NextSteps []string       `json:"next_steps,omitempty"`
	Addresses []string       `json:"addresses,omitempty"`
	ceiling   bool
}

// Decide implements gate.Decider: any denial denies, else any ask asks, else
// it allows only if somebody who may grant the operation was asked and all who
// were asked said allow.
func (e *Engine) Decide(_ context.Context, a carrel.Action) carrel.Decision {
	question, repeats := e.mayRepeat(a)
	if repeats {
		if d, ok := e.allowed.get(question); ok {
			return d
		}
	}
	d, _, _ := e.decide(a, time.Now())
	if repeats && d.Allows() { // a denial may be a fault
		e.allowed.put(question, d)
	}
	return d
}

// networkQuestions are what programs ask over and over in the same words.
var networkQuestions = []carrel.Operation{carrel.OpResolve, carrel.OpConnect, carrel.OpRequest}

// mayRepeat reports whether the answer to a stands as long as the engine does,
// and the digest to find it by.
func (e *Engine) mayRepeat(a carrel.Action) (carrel.Digest, bool) {
	if e == nil || !slices.Contains(networkQuestions, a.Operation) || e.readsTime(a.Operation) {
		return "", false
	}
	question, err := a.Digest()
	return question, err == nil
}

// DecideAt decides as Decide would have at another time, for replays.
func (e *Engine) DecideAt(a carrel.Action, at time.Time) carrel.Decision {
	d, _, _ := e.decide(a, at)
	return d
}

// decide returns the decision, what each voice said, and the input that the
// decision names.
func (e *Engine) decide(a carrel.Action, at time.Time) (carrel.Decision, []Voice, input) {
	if e == nil || e.digest == "" {
		return denied("policy/none", "no policy is loaded"), nil, input{}
	}
	in, err := newInput(a)
	if err != nil {
		d := refuseInput(err)
		d.Policy = e.digest
		return d, nil, input{}
	}
	return e.decideOn(in, a, at)
}

// decideOn decides on the input of a, which the caller made.
func (e *Engine) decideOn(in input, a carrel.Action, at time.Time) (carrel.Decision, []Voice, input) {
	seen := inputs{plain: in, timed: in}
	looks := e.readsTime(a.Operation)
	if looks {
		seen.timed = in.at(at)
	}
	voices := e.ask(a, seen)
	d := join(a.Operation, voices)
	d.Policy, d.Input = e.digest, seen.timed.digest
	if looks {
		d.Time = at.Format(time.RFC3339)
	}
	return d, voices, seen.timed
}

// refuseInput is the decision about what no policy may see.
func refuseInput(err error) carrel.Decision {
	d := denied("input/malformed", "the action is malformed: "+err.Error())
	var bad *badInput
	if errors.As(err, &bad) {
		d.Rules = []string{"input/" + bad.field}
	}
	var packet *notCarried
	if errors.As(err, &packet) {
		d.Reason = packet.why
		d.NextSteps = []string{"use TCP, which a rule can allow by host and port: HTTP/3 clients fall back to it, and names are looked up at the desk's own resolver"}
	}
	return d
}

// readsTime reports whether a voice that governs op looks at the time.
func (e *Engine) readsTime(op carrel.Operation) bool {
	return slices.ContainsFunc(e.entries, func(entry *entry) bool { return entry.Time && slices.Contains(entry.Governs, op) })
}

// inputs is one input, and the same with the time for those who look at it:
// the others' answers can then be remembered.
type inputs struct{ plain, timed input }

func denied(rule, reason string) carrel.Decision {
	return carrel.Decision{Verdict: carrel.Deny, Rules: []string{rule}, Reason: reason}
}

func (e *Engine) ask(a carrel.Action, in inputs) []Voice {
	q := asking{voices: make([]*entry, 0, 4), inputs: make([]input, 0, 4)}
	for _, entry := range e.entries {
		if !slices.Contains(entry.Governs, a.Operation) {
			continue
		}
		seen := in.plain
		if entry.Time {
			seen = in.timed
		}
		q.voices, q.inputs = append(q.voices, entry), append(q.inputs, seen)
	}
	q.answers = make([]Answer, len(q.voices))
	q.answerAll(a, e.remotes)
	out := make([]Voice, len(q.voices))
	for i, entry := range q.voices {
		out[i] = entry.say(a.Operation, q.answers[i])
	}
	return out
}

// say is the answer as the voice's word on op.
func (e *entry) say(op carrel.Operation, answer Answer) Voice {
	v := Voice{
		Layer: e.Layer, Entry: e.Package, Verdict: answer.Verdict, Rules: e.rules(answer),
		Reason: answer.Reason, NextSteps: answer.NextSteps, Addresses: answer.Addresses,
		ceiling: slices.Contains(e.Ceiling, op),
	}
	if v.Verdict != carrel.Allow && v.Verdict != carrel.Ask {
		v.Verdict = carrel.Deny
	}
	if v.Verdict == carrel.Deny && v.Reason == "" {
		v.Reason = fmt.Sprintf("the policy layer %s does not allow this %s", e.Layer, op)
	}
	return v
}

// join is the whole of how layers combine.
func join(op carrel.Operation, voices []Voice) carrel.Decision {
	for _, verdict := range []carrel.Verdict{carrel.Deny, carrel.Ask} {
		if d := collect(verdict, voices); d.Verdict == verdict {
			if verdict == carrel.Ask {
				return narrow(d, op, voices)
			}
			return d
		}
	}
	return narrow(collect(carrel.Allow, voices), op, voices)
}

// narrow refuses what nobody granted, and keeps the addresses that every
// voice which named addresses agrees on.
func narrow(d carrel.Decision, op carrel.Operation, voices []Voice) carrel.Decision {
	if !slices.ContainsFunc(voices, func(v Voice) bool { return !v.ceiling }) {
		d := denied("policy/not-granted", fmt.Sprintf("nothing in the configuration grants this %s", op))
		d.NextSteps = []string{"grant it in the configuration, or for one run with a flag of carrel run"}
		return d
	}
	named := false
	for _, v := range voices {
		switch {
		case len(v.Addresses) == 0:
		case !named:
			named, d.Addresses = true, slices.Clone(v.Addresses)
		default:
			d.Addresses = slices.DeleteFunc(d.Addresses, func(a string) bool { return !slices.Contains(v.Addresses, a) })
		}
	}
	if named && len(d.Addresses) == 0 {
		return denied("policy/addresses", "the layers name different addresses")
	}
	return d
}

// collect joins the voices that said verdict.
func collect(verdict carrel.Verdict, voices []Voice) carrel.Decision {
	var d carrel.Decision
	for _, v := range voices {
		if v.Verdict != verdict {
			continue
		}
		if d.Verdict == "" {
			d.Verdict, d.Reason = verdict, v.Reason
		}
		d.Rules = append(d.Rules, v.Rules...)
		for _, n := range v.NextSteps {
			if !slices.Contains(d.NextSteps, n) {
				d.NextSteps = append(d.NextSteps, n)
			}
		}
	}
	return d
}
