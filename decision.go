package carrel

import "time"

// Verdict is the answer of a decision. The zero value denies.
type Verdict string

// The verdicts.
const (
	Deny  Verdict = "deny"
	Ask   Verdict = "ask"
	Allow Verdict = "allow"
)

// Decision is the answer to an action, with what it rested on. The zero value
// denies.
type Decision struct {
	Verdict   Verdict  `json:"verdict"`
	Rules     []string `json:"rules,omitempty"`      // "layer/rule", the deciding ones first
	Reason    string   `json:"reason,omitempty"`     // one sentence
	NextSteps []string `json:"next_steps,omitempty"` // the narrowest change that would decide otherwise
	Policy    Digest   `json:"policy,omitempty"`     // of every layer that was in force
	Input     Digest   `json:"input,omitempty"`      // of what the policy saw
	// Time is the local time that policies were told, RFC 3339 with its offset;
	// only if one of them looked at it.
	Time string `json:"time,omitempty"`
	// Addresses narrow a network decision to those that a rule names; empty
	// means public addresses only.
	Addresses []string `json:"addresses,omitempty"`
}

// Allows reports whether the action may go ahead without asking anybody.
func (d Decision) Allows() bool { return d.Verdict == Allow }

// Asks reports whether people must answer.
func (d Decision) Asks() bool { return d.Verdict == Ask }

// Approval is people's answer to an ask, bound to one action digest, one run
// and one policy.
type Approval struct {
	Action   Digest    `json:"action"` // Action.Digest
	Run      RunID     `json:"run,omitempty"`
	Policy   Digest    `json:"policy"`
	Granted  bool      `json:"granted"` // false: the answer was no
	By       string    `json:"by"`      // operating system user, "uid:name"
	Reason   Text      `json:"reason,omitempty"`
	Time     time.Time `json:"time"`     // UTC
	Expires  time.Time `json:"expires"`  // UTC; an answer never lasts for ever
	Terminal bool      `json:"terminal"` // answered at a prompt that showed the digest
}
