// Package gate is the one road: every effect of Carrel is an action that goes
// through Gate.Do, which decides it, waits for people where it must, records
// the intent durably, and only then lets the effect run.
//
// It owns the order of those steps and the grants it mints. It is trusted
// completely: whoever can make Do skip a step can do anything.
package gate

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/carrel-dev/carrel"
)

// Decider answers actions. Decide never fails: an error, a time-out or an
// undefined answer is a denial that says so. It must be safe for concurrent
// use and must not keep the action.
type Decider interface {
	Decide(ctx context.Context, a carrel.Action) carrel.Decision
}

// Approver obtains people's answer to an ask. Await returns an approval bound
// to digest, or an error: ErrPending when nobody has answered and nobody can
// be asked now, ErrExpired when the time to answer ran out. The gate checks
// every field of what it returns. Await must be safe for concurrent use.
type Approver interface {
	Await(ctx context.Context, a carrel.Action, digest carrel.Digest, d carrel.Decision) (carrel.Approval, error)
}

// Log keeps records. Both methods are safe for concurrent use; after either
// has failed the log stays failed.
type Log interface {
	// Append returns once the record would survive a power cut.
	Append(ctx context.Context, r carrel.Record) error
	// Enqueue hands the record to the next batch and returns; it waits when
	// the batch is full, so that nothing is dropped.
	Enqueue(ctx context.Context, r carrel.Record) error
}

// Effect does what an action says. It runs at most once, only after the
// intent is durable, and its grant is dead when it returns.
type Effect func(ctx context.Context, g Grant) (carrel.Outcome, error)

// Errors of Do, to be told apart with errors.Is. A refusal by policy or by
// people is a *Refusal, which wraps one of the first three.
var (
	ErrDenied     = errors.New("denied")
	ErrPending    = errors.New("waiting for approval")
	ErrExpired    = errors.New("approval expired")
	ErrUnrecorded = errors.New("not recorded")
	ErrStopped    = errors.New("no longer accepting actions")
)

// Refusal is the error of an action that was not allowed.
type Refusal struct {
	Action   carrel.Action
	Digest   carrel.Digest
	Decision carrel.Decision
	cause    error
}

// Error says what was refused and why.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%s: %v: %s", r.Action.Operation, r.cause, r.Decision.Reason)
}

// Unwrap returns ErrDenied, ErrPending, or an error that is ErrExpired.
func (r *Refusal) Unwrap() error { return r.cause }

// Gate is the road. Its zero value refuses everything; make one with New.
type Gate struct {
	decider  Decider
	approver Approver
	log      Log
	refusals refusals
	// OnRefusal, if set before the first Do, hears of every refusal, repeats
	// included, after it was recorded or counted. It must not block.
	OnRefusal func(*Refusal)
	// Redact, if set before the first Do, takes secrets out of every action
	// before it is digested, decided and recorded. It must answer the same
	// action always alike; effects still act on what they were given.
	Redact func(carrel.Action) carrel.Action

	stopped atomic.Pointer[error]
}

// New returns a gate that decides with d, asks a and records in l. All three
// are needed.
func New(d Decider, a Approver, l Log) *Gate {
	return &Gate{decider: d, approver: a, log: l}
}

// Do decides a and, if it may happen, runs effect. It returns a *Refusal if
// the action was not allowed, an error wrapping ErrUnrecorded if its intent
// could not be recorded (the effect did not run), one wrapping ErrStopped if
// an earlier result could not be recorded, and otherwise what effect returned.
// It is safe for concurrent use. Cancelling ctx stops waiting for people and
// is passed to effect; it does not stop records.
func (g *Gate) Do(ctx context.Context, a carrel.Action, effect Effect) (carrel.Outcome, error) {
	if g == nil || g.decider == nil || g.approver == nil || g.log == nil {
		return carrel.Outcome{}, fmt.Errorf("gate without decider, approver or log: %w", ErrStopped)
	}
	if cause := g.stopped.Load(); cause != nil {
		return carrel.Outcome{}, fmt.Errorf("%w: %w", ErrStopped, *cause)
	}
	a, digest, refusal := g.enter(a)
	if refusal != nil {
		return carrel.Outcome{}, g.refuse(ctx, refusal)
	}
	decision := g.decide(ctx, a)
	approval, refusal := g.answer(ctx, a, digest, decision)
	if refusal != nil {
		return carrel.Outcome{}, g.refuse(ctx, refusal)
	}
	intent := carrel.Record{Kind: carrel.KindIntent, Run: a.Run, Action: &a, ActionDigest: digest, Decision: &decision, Approval: approval}
	if err := g.record(ctx, a, intent); err != nil {
		return carrel.Outcome{}, fmt.Errorf("%s: %w: %w", a.Operation, ErrUnrecorded, err)
	}
	return g.run(ctx, a, digest, effect)
}

// decide normalises whatever the decider says, or fails to say, to a verdict.
func (g *Gate) decide(ctx context.Context, a carrel.Action) (d carrel.Decision) {
	defer func() {
		if p := recover(); p != nil {
			d = carrel.Decision{Verdict: carrel.Deny, Rules: []string{"gate/fault"}, Reason: fmt.Sprintf("the policy engine failed: %v", p)}
		}
	}()
	d = g.decider.Decide(ctx, a.Clone())
	if d.Verdict != carrel.Allow && d.Verdict != carrel.Ask {
		d.Verdict = carrel.Deny
	}
	if d.Verdict == carrel.Deny && d.Reason == "" {
		d.Reason = "nothing allows it"
	}
	return bound(d)
}

// answer returns the approval an ask needs, or why the action is refused.
func (g *Gate) answer(ctx context.Context, a carrel.Action, digest carrel.Digest, d carrel.Decision) (*carrel.Approval, *Refusal) {
	switch d.Verdict {
	case carrel.Allow:
		return nil, nil
	case carrel.Ask:
	default:
		return nil, &Refusal{a, digest, d, ErrDenied}
	}
	approval, err := g.approver.Await(ctx, a.Clone(), digest, d)
	switch {
	case errors.Is(err, ErrExpired):
		return nil, &Refusal{a, digest, d, err}
	case errors.Is(err, ErrPending):
		return nil, &Refusal{a, digest, d, ErrPending}
	case err != nil:
		d.Reason = fmt.Sprintf("asking failed: %v", err)
		return nil, &Refusal{a, digest, d, ErrDenied}
	}
	if why, cause := checkApproval(approval, a, digest, d); cause != nil {
		d.Reason = why
		return nil, &Refusal{a, digest, d, cause}
	}
	return &approval, nil
}

// checkApproval refuses an answer to any other question.
func checkApproval(p carrel.Approval, a carrel.Action, digest carrel.Digest, d carrel.Decision) (why string, cause error) {
	switch now := time.Now(); {
	case !p.Action.Equal(digest):
		return "the approval is for another action", ErrDenied
	case p.Run != a.Run:
		return "the approval is for another run", ErrDenied
	case p.Policy != d.Policy:
		return "the approval was given under another policy; approve again", ErrDenied
	case !p.Granted:
		return fmt.Sprintf("%s said no: %s", p.By, p.Reason), ErrDenied
	case p.Time.After(now.Add(time.Minute)):
		return "the approval lies in the future; check the clock", ErrDenied
	case !now.Before(p.Expires):
		return "the approval has expired; approve again", ErrExpired
	}
	return "", nil
}

// record appends durably what must be durable before its effect, and leaves
// the rest to the next batch.
func (g *Gate) record(ctx context.Context, a carrel.Action, r carrel.Record) error {
	ctx = context.WithoutCancel(ctx)
	if Durable(a) {
		return g.log.Append(ctx, r)
	}
	return g.log.Enqueue(ctx, r)
}

// Durable reports whether the intent of a must survive a power cut before its
// effect runs. Looking up a name, reading, safe requests (RFC 9110 9.2.1) and
// what runs inside a desk may join the next batch.
func Durable(a carrel.Action) bool {
	switch a.Operation {
	case carrel.OpRead, carrel.OpResolve:
		return false
	case carrel.OpExec:
		return a.Process == nil
	case carrel.OpRequest:
		return a.Method != "GET" && a.Method != "HEAD" && a.Method != "OPTIONS"
	}
	return true
}

func (g *Gate) run(ctx context.Context, a carrel.Action, digest carrel.Digest, effect Effect) (out carrel.Outcome, err error) {
	grant := Grant{&grantState{digest: digest, redact: g.Redact}}
	grant.state.alive.Store(true)
	finished := false
	defer func() {
		grant.state.alive.Store(false)
		if !finished { // effect panicked: say that it failed, then let the panic go on
			out, err = carrel.Outcome{Status: carrel.OutcomeFailed, Error: "panic"}, errors.New("panic")
		}
		if rerr := g.result(ctx, a, digest, out, err); rerr != nil && finished {
			err = errors.Join(err, rerr)
		}
	}()
	out, err = effect(ctx, grant)
	finished = true
	return out, err
}

// maxError bounds the text of an error in a record: a program inside must not
// be able to grow the log with one failure.
const maxError = 1000

func (g *Gate) result(ctx context.Context, a carrel.Action, digest carrel.Digest, out carrel.Outcome, err error) error {
	if out.Status == "" {
		out.Status = carrel.OutcomeDone
	}
	if err != nil {
		out.Status = carrel.OutcomeFailed
		if out.Error == "" {
			out.Error = carrel.Text(err.Error())
		}
	}
	out.Error = carrel.Text(cut(string(out.Error), maxError))
	r := carrel.Record{Kind: carrel.KindResult, Run: a.Run, Action: &carrel.Action{ID: a.ID, Operation: a.Operation, Run: a.Run}, ActionDigest: digest, Outcome: &out}
	ctx = context.WithoutCancel(ctx)
	var rerr error
	if a.Operation == carrel.OpPublish {
		rerr = g.log.Append(ctx, r)
	} else {
		rerr = g.log.Enqueue(ctx, r)
	}
	if rerr == nil {
		return nil
	}
	rerr = fmt.Errorf("recording the result of %s %s: %w", a.Operation, a.ID, rerr)
	g.stop(rerr)
	return rerr
}

// stop makes every later Do fail with ErrStopped and the given cause.
func (g *Gate) stop(cause error) { g.stopped.CompareAndSwap(nil, &cause) }

// Judge decides a without any effect: a file of a change, a rule that is only
// explained. Denials and asks are recorded and reported as Do does; an
// allowed action leaves no record of its own.
func (g *Gate) Judge(ctx context.Context, a carrel.Action) carrel.Decision {
	if g == nil || g.decider == nil || g.log == nil {
		return carrel.Decision{Verdict: carrel.Deny, Reason: "no policy is loaded"}
	}
	a, digest, refusal := g.enter(a)
	if refusal == nil {
		switch d := g.decide(ctx, a); d.Verdict {
		case carrel.Allow:
			return d
		case carrel.Ask:
			refusal = &Refusal{a, digest, d, ErrPending}
		default:
			refusal = &Refusal{a, digest, d, ErrDenied}
		}
	}
	_ = g.refuse(ctx, refusal) // it is what is returned; a log that fails stops the gate
	return refusal.Decision
}
