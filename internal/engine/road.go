package engine

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/approval"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/hook"
	"github.com/carrel-dev/carrel/internal/policy"
)

// road is the gate with everything behind it, for one short command that
// needs no desk.
type road struct {
	host    Host
	gate    *gate.Gate
	policy  *policy.Engine
	answers *approval.Store // nil where answers cannot be kept safely
	unkept  error           // why
	log     *audit.Log
	sign    bool // sign where the log stands when done
}

// openRoad is openRoadOf for what the user does.
func (e *Records) openRoad(ctx context.Context) (*road, error) { return e.openRoadOf(ctx, "claude") }

// openRoadOf opens the log and compiles the policy, side by side. agent is the
// profile whose destinations count.
func (e *Records) openRoadOf(ctx context.Context, agent string) (*road, error) {
	for _, dir := range []string{e.host.Paths.State, filepath.Dir(e.host.Paths.Second)} {
		if err := privateDir(dir); err != nil {
			return nil, err
		}
	}
	redact := audit.NewRedactor(e.state("keys"))
	options := e.host.logOptions()
	options.Redact = redact
	type opened struct {
		log *audit.Log
		err error
	}
	logs := make(chan opened, 1)
	go func() {
		log, err := audit.Open(ctx, options)
		logs <- opened{log, err}
	}()
	engine, err := e.hookPolicy(ctx, agent, redact)
	l := <-logs
	if err = errors.Join(err, l.err); err != nil {
		if l.log != nil {
			_ = l.log.Close() // nothing was handed to it
		}
		if engine != nil {
			engine.Close()
		}
		return nil, err
	}
	r := &road{host: e.host, policy: engine, log: l.log}
	var approver gate.Approver = nobody{}
	if r.answers, r.unkept = approval.Open(e.state("approvals")); r.unkept == nil {
		r.answers.By, r.answers.Confirm = e.host.User, e.confirm
		approver = r.answers
	}
	r.gate = gate.New(engine, approver, l.log)
	r.gate.Redact = redact.Action
	return r, nil
}

// operate takes an act of the user to the gate, for a verb that needs no desk.
// The effect runs if policy allows it, once its intent is durable.
func (e *Records) operate(ctx context.Context, a carrel.Action, effect func(context.Context, *audit.Log) (carrel.Outcome, error)) error {
	r, err := e.openRoad(ctx)
	if err != nil {
		return err
	}
	err = operate(ctx, r.gate, a, func(ctx context.Context) (carrel.Outcome, error) { return effect(ctx, r.log) })
	return errors.Join(err, r.close(ctx))
}

func operate(ctx context.Context, g *gate.Gate, a carrel.Action, effect func(context.Context) (carrel.Outcome, error)) error {
	_, err := g.Do(ctx, a, func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
		if err := grant.Covers(a); err != nil {
			return carrel.Outcome{}, err
		}
		return effect(ctx)
	})
	return err
}

// nobody answers where answers cannot be kept safely.
type nobody struct{}

// Await implements gate.Approver.
func (nobody) Await(context.Context, carrel.Action, carrel.Digest, carrel.Decision) (carrel.Approval, error) {
	return carrel.Approval{}, gate.ErrPending
}

// hookPolicy is the user's and the organisation's policy with the rules for
// tools. What the configuration knows as keys is made known to redact.
func (e *Records) hookPolicy(ctx context.Context, agent string, redact *audit.Redactor) (*policy.Engine, error) {
	s, err := e.userSettings()
	if err != nil {
		return nil, err
	}
	if err := announceKeys(ctx, e.host, s, redact); err != nil {
		return nil, err
	}
	tools, err := hookLayer(hook.Rules{Tools: values(s.Tools), Hide: values(s.Hide)}, hook.Operations...)
	if err != nil {
		return nil, err
	}
	layers := append([]policy.Layer{tools}, s.policyLayers...)
	network, err := networkLayers(s, agent)
	if err != nil {
		return nil, err
	}
	return e.policyInForce(ctx, append(layers, network...)...)
}

// hookLayer is what the configuration says about tools, for these operations.
func hookLayer(rules hook.Rules, governs ...carrel.Operation) (policy.Layer, error) {
	text, err := carrel.Canonical(rules)
	return policy.Layer{
		Name: "hook", Kind: policy.User, Governs: governs, Text: text,
		Func: func(a carrel.Action) policy.Answer {
			d := rules.Decide(a)
			return policy.Answer{Verdict: d.Verdict, Rules: d.Rules, Reason: d.Reason, NextSteps: d.NextSteps}
		},
	}, err
}

// close makes what was recorded durable.
func (r *road) close(ctx context.Context) error {
	r.policy.Close()
	err := r.gate.Flush(ctx)
	if r.sign && err == nil {
		_, err = r.log.Checkpoint(ctx)
	}
	return errors.Join(err, r.log.Close())
}
