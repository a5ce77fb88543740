package gate

import (
	"fmt"

	"github.com/carrel-dev/carrel"
)

// A record has at most 32 KiB (spec/record.md). These bounds leave room for
// one action and one decision in it, so that nothing an agent can name is too
// large to be recorded: what cannot be recorded must not happen.
const (
	maxAction = 16 << 10 // canonical bytes, its identifier not counted
	maxReason = 2000
	maxRules  = 32
	maxRule   = 200
)

// enter freezes an action: a copy with an id and no secrets, and its digest. An action that
// cannot be encoded, or is too large to be recorded, is refused; the record
// then has a smaller action that says so.
func (g *Gate) enter(a carrel.Action) (carrel.Action, carrel.Digest, *Refusal) {
	if a = a.Clone(); g.Redact != nil {
		a = g.Redact(a)
	}
	if a.ID == "" {
		a.ID = carrel.NewActionID()
	}
	digest, size, err := a.Measure()
	if err == nil && size <= maxAction {
		return a, digest, nil
	}
	d := carrel.Decision{Verdict: carrel.Deny, Rules: []string{"gate/encoding"}}
	if err != nil {
		d.Reason = cut(err.Error(), maxReason)
	} else {
		d.Rules[0] = "gate/size"
		d.Reason = fmt.Sprintf("the action takes %d bytes, of which at most %d can be recorded", size, maxAction)
	}
	small := carrel.Action{ID: a.ID, Run: a.Run, Operation: a.Operation}
	digest, _ = small.Digest() // three plain strings always encode
	return small, digest, &Refusal{small, digest, d, ErrDenied}
}

// bound cuts what a policy says about an action to what a record can hold.
func bound(d carrel.Decision) carrel.Decision {
	d.Reason = cut(d.Reason, maxReason)
	d.Rules = cutAll(d.Rules)
	d.NextSteps = cutAll(d.NextSteps)
	return d
}

func cutAll(in []string) []string {
	var out []string
	for _, s := range in[:min(len(in), maxRules)] {
		out = append(out, cut(s, maxRule))
	}
	return out
}

// cut keeps whole characters.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && s[limit]&0xC0 == 0x80 {
		limit--
	}
	return s[:limit] + "…"
}
