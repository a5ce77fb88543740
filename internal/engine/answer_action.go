package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/approval"
	"github.com/carrel-dev/carrel/internal/gate"
)

// How long an answer to an action counts.
const (
	RememberAction = "action" // this one, while it waits or is tried again soon
	RememberRun    = "run"    // identical actions of the same run
	RememberRule   = "rule"   // as for the run, and a rule to put into the configuration is proposed
)

const (
	defaultHold = 2 * time.Minute
	// triedAgain is how long an answer counts for an action that could not
	// wait for it.
	triedAgain = 10 * time.Minute
)

// ActionAnswer is an answer to one action.
type ActionAnswer struct {
	Reason   string
	Digest   string        // the whole digest of the action, or its first digits; "": any
	For      time.Duration // 0: as Remember says
	Remember string        // RememberAction, RememberRun or RememberRule
	JSON     bool
}

// AnswerAction records a person's yes or no to an action that waits.
func AnswerAction(ctx context.Context, host Host, id string, granted bool, opts ActionAnswer) error {
	if err := checkID(id, "act_"); err != nil {
		return err
	}
	if !slices.Contains([]string{"", RememberAction, RememberRun, RememberRule}, opts.Remember) {
		return misused("--remember %q: use %s, %s or %s", opts.Remember, RememberAction, RememberRun, RememberRule)
	}
	e := &Records{host}
	r, err := e.openRoad(ctx)
	if err != nil {
		return err
	}
	err = r.answerAction(ctx, carrel.ActionID(id), granted, opts)
	if cerr := r.close(ctx); err == nil {
		err = cerr
	}
	return err
}

func (r *road) answerAction(ctx context.Context, id carrel.ActionID, granted bool, opts ActionAnswer) error {
	if r.unkept != nil {
		return &hintError{fmt.Errorf("answers cannot be kept: %w", r.unkept), "answer in the client, which asks as well"}
	}
	q, err := r.answers.Find(id)
	if err != nil {
		return &hintError{err, "carrel pending lists what does; what nobody answered in time was denied"}
	}
	if err := checkDigest("action "+string(id), q.Digest, opts.Digest, "look at it again: carrel pending"); err != nil {
		return err
	}
	proposal, err := r.answer(ctx, q, granted, opts)
	if err != nil {
		return err
	}
	out := r.host.Stdout
	if opts.JSON {
		return (&Records{r.host}).printJSON(map[string]any{"action": id, "digest": q.Digest, "approved": granted, "remember": opts.Remember, "proposal": proposal})
	}
	word := "denied"
	if granted {
		word = "approved"
	}
	fmt.Fprintf(out, "%s %s: %s (digest %s)\n", word, id, describeAction(q.Action), q.Digest.Short())
	if proposal != "" {
		fmt.Fprintf(out, "  proposed, for you to look at and put into your configuration:\n%s", indent(proposal))
	}
	return nil
}

// answer takes the person's own action to the gate; its effect keeps the
// answer. It returns the rule that is proposed, if one was asked for.
func (r *road) answer(ctx context.Context, q approval.OpenQuestion, granted bool, opts ActionAnswer) (proposal string, err error) {
	a := carrel.Action{Run: q.Action.Run, Operation: carrel.OpApprove, Subject: string(q.Action.ID), SubjectDigest: q.Digest, Reason: carrel.Text(opts.Reason)}
	if !granted {
		a.Operation = carrel.OpDeny
	}
	r.answers.Lifetime = opts.lifetime(q)
	_, err = r.gate.Do(ctx, a, func(ctx context.Context, g gate.Grant) (carrel.Outcome, error) {
		p, err := r.answers.Answer(ctx, g, a, q.Decision.Policy)
		return carrel.Outcome{Facts: map[string]carrel.Text{"operation": carrel.Text(q.Action.Operation), "expires": carrel.Text(p.Expires.Format(time.RFC3339))}}, err
	})
	if err != nil || !granted || opts.Remember != RememberRule {
		return "", err
	}
	return (&Records{r.host}).propose(q)
}

func (o ActionAnswer) lifetime(q approval.OpenQuestion) time.Duration {
	switch {
	case o.For > 0:
		return o.For
	case o.Remember == RememberRun || o.Remember == RememberRule:
		return approval.DefaultLifetime
	case q.Held:
		return max(time.Until(q.Until), 0) + approval.Grace
	}
	return triedAgain
}
