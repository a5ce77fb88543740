//go:build linux

package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/approval"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/policy"
)

// operator is what a verb of the user needs to act on a change: the policy
// that was in force for its run, without the run's network rules.
type operator struct {
	gate     *gate.Gate
	policy   *policy.Engine
	answers  *approval.Store
	log      *audit.Log
	refusals denials
}

// operator builds the road for a verb about a change of the given run.
func (e *Engine) operator(ctx context.Context, run carrel.RunID) (*operator, error) {
	log, err := e.openLog()
	if err != nil {
		return nil, err
	}
	cfg, err := e.userSettings()
	if err != nil {
		return nil, err
	}
	layers := cfg.policyLayers
	if run != "" {
		r, err := e.loadRun(run)
		if err != nil {
			return nil, fmt.Errorf("the policy of the run: %w", err)
		}
		more, err := e.keptLayers(r.PolicyFiles)
		if err != nil {
			return nil, err
		}
		layers = append(slices.Clone(layers), more...)
	}
	engine, err := e.policyInForce(ctx, layers...)
	if err != nil {
		return nil, err
	}
	e.onClose = append(e.onClose, engine.Close)
	answers, err := approval.Open(e.state("approvals"))
	if err != nil {
		return nil, err
	}
	answers.By = e.host.User
	answers.Confirm = e.confirm
	op := &operator{gate: gate.New(engine, answers, log), policy: engine, answers: answers, log: log}
	op.gate.OnRefusal, op.gate.Redact = op.refusals.refused, e.redact.Action
	return op, nil
}

// operate takes an act of the user that is about no run to the gate.
func (e *Engine) operate(ctx context.Context, a carrel.Action, effect func(context.Context) (carrel.Outcome, error)) error {
	op, err := e.operator(ctx, "")
	if err != nil {
		return err
	}
	return operate(ctx, op.gate, a, effect)
}
