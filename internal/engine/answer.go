//go:build linux

package engine

import (
	"context"
	"fmt"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// Answer records the user's yes or no to a change, wherever it could go.
func (e *Engine) Answer(ctx context.Context, sel Selection, granted bool, opts AnswerOptions) error {
	s, op, err := e.pending(ctx, sel)
	if err != nil {
		return err
	}
	op.answers.Lifetime = opts.For
	for _, target := range targets(s.ws) {
		if err := op.answer(ctx, s.change, target, granted, opts.Reason); err != nil {
			return err
		}
	}
	return e.answered(s, granted, opts)
}

// targets are where a change of a workspace can go. An answer counts for one
// of them: each is an action of its own.
func targets(ws *workspace.Workspace) []string {
	if ws.Repository() == nil {
		return []string{carrel.TargetTree}
	}
	return []string{carrel.TargetTree, carrel.TargetBranch}
}

// applyForms is how apply can be typed in a workspace.
func applyForms(ws *workspace.Workspace) string {
	if ws.Repository() == nil {
		return "carrel apply"
	}
	return "carrel apply [--branch NAME]"
}

// pending finds the shown change, which must still wait, and who acts on it.
func (e *Engine) pending(ctx context.Context, sel Selection) (selected, *operator, error) {
	if err := e.recoverApplies(ctx); err != nil {
		return selected{}, nil, err
	}
	s, err := e.find(ctx, sel, (*workspace.Workspace).ShownChange)
	if err != nil {
		return s, nil, err
	}
	if err := s.mustBePending(); err != nil {
		return s, nil, err
	}
	op, err := e.operator(ctx, s.change.Run)
	return s, op, err
}

func (s selected) mustBePending() error {
	if s.entry.State == workspace.ChangePending {
		return nil
	}
	err := fmt.Errorf("change %s was %s", s.entry.ID, s.entry.State)
	if s.entry.Note != "" {
		err = fmt.Errorf("%w (%s)", err, s.entry.Note)
	}
	return err
}

// answer takes the operator's own action to the gate; its effect keeps the
// answer.
func (op *operator) answer(ctx context.Context, c *carrel.Change, target string, granted bool, reason string) error {
	publish, err := workspace.PublishAction(c, target, false)
	if err != nil {
		return err
	}
	digest, err := publish.Digest()
	if err != nil {
		return err
	}
	a := carrel.Action{Run: c.Run, Operation: carrel.OpApprove, Subject: string(c.ID), SubjectDigest: digest, Reason: carrel.Text(reason)}
	if !granted {
		a.Operation = carrel.OpDeny
	}
	_, err = op.gate.Do(ctx, a, func(ctx context.Context, g gate.Grant) (carrel.Outcome, error) {
		p, err := op.answers.Answer(ctx, g, a, op.policy.Digest())
		return carrel.Outcome{Facts: map[string]carrel.Text{"target": carrel.Text(target), "expires": carrel.Text(p.Expires.Format("2006-01-02T15:04:05Z"))}}, err
	})
	return err
}

func (e *Engine) answered(s selected, granted bool, opts AnswerOptions) error {
	if opts.JSON {
		return e.printJSON(map[string]any{"change": s.entry.ID, "digest": s.entry.Digest, "approved": granted, "reason": opts.Reason})
	}
	if !granted {
		fmt.Fprintf(e.host.Stdout, "denied %s (digest %s). It stays at the desk: `carrel discard` throws it away\n", s.entry.ID, s.entry.Digest.Short())
		return nil
	}
	fmt.Fprintf(e.host.Stdout, "approved %s: %s, digest %s\n  next: %s\n", s.entry.ID, countFiles(len(s.change.Files)), s.entry.Digest.Short(), applyForms(s.ws))
	return nil
}
