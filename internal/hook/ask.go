package hook

import (
	"context"
	"errors"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
)

// Ask takes all actions of one call through the gate. They stand or fall
// together: each is the effect of the one before, so that none is recorded as
// done when a later one is refused. facts say whose call it was. The error is
// a *gate.Refusal, or says why nothing could be decided or recorded.
func Ask(ctx context.Context, g *gate.Gate, actions []carrel.Action, facts map[string]carrel.Text) error {
	if len(actions) == 0 {
		return nil
	}
	a := actions[0]
	_, err := g.Do(ctx, a, func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
		if err := grant.Covers(a); err != nil {
			return carrel.Outcome{}, err
		}
		return carrel.Outcome{Facts: facts}, Ask(ctx, g, actions[1:], facts)
	})
	return err
}

// Answer is what a client is told.
type Answer struct {
	Verdict carrel.Verdict // the zero value denies
	Message string         // for the agent and the person; empty when allowed
}

// AnswerTo turns what Ask returned into an answer. later says that a person's
// answer can be kept for the next try.
func AnswerTo(err error, later bool) Answer {
	var r *gate.Refusal
	switch {
	case err == nil:
		return Answer{Verdict: carrel.Allow}
	case !errors.As(err, &r):
		return Fault(err)
	}
	message := "carrel: " + r.Decision.Reason
	if len(r.Decision.Rules) > 0 {
		message += " (" + r.Decision.Rules[0] + ")"
	}
	for _, next := range r.Decision.NextSteps {
		message += "; next: " + next
	}
	if errors.Is(err, gate.ErrPending) || errors.Is(err, gate.ErrExpired) {
		if later {
			message += "; a person can allow it: carrel approve " + string(r.Action.ID)
		}
		return Answer{carrel.Ask, message}
	}
	return Answer{carrel.Deny, message + "; " + string(r.Action.ID)}
}

const faulty = "carrel: denied, because deciding failed: "

// Fault is the answer when Carrel itself failed.
func Fault(err error) Answer {
	return Answer{carrel.Deny, faulty + err.Error()}
}
