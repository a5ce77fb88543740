package engine

import (
	"errors"
	"fmt"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/verify"
)

// PolicyVerdict is what a policy said to everything that was proved.
type PolicyVerdict struct {
	Allowed bool     `json:"allowed"`
	Rules   []string `json:"rules"`
	Reason  string   `json:"reason,omitempty"`
}

// judge asks the policy about every set that was proved. None at all is a no.
func (v *verifying) judge(sets []verify.Set, commit *verify.CommitDocument) error {
	for i := range sets {
		d, err := sets[i].Document(commit)
		if err != nil {
			return err
		}
		v.out.Sets = append(v.out.Sets, d)
	}
	if v.opts.Policy == "" {
		return nil
	}
	if !v.out.Trusted {
		return &hintError{errors.New("a policy is asked only about what a trusted key signed"), "--key attestation.pub, from somebody you trust"}
	}
	layer, err := policy.FromPath("merge", policy.Organisation, v.opts.Policy)
	if err != nil {
		return fmt.Errorf("--policy: %w", err)
	}
	v.out.Policy = &PolicyVerdict{Rules: []string{}}
	if len(v.out.Sets) == 0 {
		v.out.Policy.Reason = "nothing is attested"
		return fmt.Errorf("%s: nothing about where a change went is attested: %w", v.out.Target, gate.ErrDenied)
	}
	for _, d := range v.out.Sets {
		answer, err := policy.AskAbout(layer, d)
		if err != nil {
			return fmt.Errorf("--policy: %w", err)
		}
		v.out.Policy.Rules = append(v.out.Policy.Rules, answer.Rules...)
		if answer.Verdict != carrel.Allow {
			if v.out.Policy.Reason = answer.Reason; answer.Reason == "" {
				v.out.Policy.Reason = "the policy does not allow it"
			}
			return fmt.Errorf("run %s: %s: %w by %s", d.Run, v.out.Policy.Reason, gate.ErrDenied, v.opts.Policy)
		}
	}
	v.out.Policy.Allowed = true
	return nil
}
