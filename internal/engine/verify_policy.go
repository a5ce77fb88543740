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
	documents, err := v.documents(sets, commit)
	if err != nil || v.opts.Policy == "" {
		return err
	}
	v.out.Policy, err = v.ask(v.out.Target, documents)
	return err
}

// documents are what a policy sees of sets.
func (v *verifying) documents(sets []verify.Set, commit *verify.CommitDocument) ([]verify.Document, error) {
	var out []verify.Document
	for i := range sets {
		d, err := sets[i].Document(commit)
		if err != nil {
			return nil, err
		}
		key := v.trust.Log
		if key == "" {
			key = sets[i].Provenance.LogKey()
		}
		d.Log.Witnesses = append(d.Log.Witnesses, v.witnessed[key]...)
		out = append(out, d)
	}
	v.out.Sets = append(v.out.Sets, out...)
	return out, nil
}

// ask asks the policy about each of the documents. All must be allowed, and
// there must be one.
func (v *verifying) ask(what string, documents []verify.Document) (*PolicyVerdict, error) {
	if !v.out.Trusted {
		return nil, &hintError{errors.New("a policy is asked only about what a trusted key signed"), "--key attestation.pub, from somebody you trust"}
	}
	layer, err := v.merge()
	if err != nil {
		return nil, err
	}
	out := &PolicyVerdict{Rules: []string{}}
	if len(documents) == 0 {
		out.Reason = "nothing is attested"
		return out, fmt.Errorf("%s: nothing about where a change went is attested: %w", what, gate.ErrDenied)
	}
	for _, d := range documents {
		answer, err := policy.AskAbout(layer, d)
		if err != nil {
			return out, fmt.Errorf("--policy: %w", err)
		}
		out.Rules = append(out.Rules, answer.Rules...)
		if answer.Verdict != carrel.Allow {
			if out.Reason = answer.Reason; answer.Reason == "" {
				out.Reason = "the policy does not allow it"
			}
			return out, fmt.Errorf("run %s: %s: %w by %s", d.Run, out.Reason, gate.ErrDenied, v.opts.Policy)
		}
	}
	out.Allowed = true
	return out, nil
}

// merge reads the policy that is asked.
func (v *verifying) merge() (policy.Layer, error) {
	layer, err := policy.FromPath("merge", policy.Organisation, v.opts.Policy)
	if err != nil {
		err = fmt.Errorf("--policy: %w", err)
	}
	return layer, err
}
