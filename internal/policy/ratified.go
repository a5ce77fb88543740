package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
)

// Ratified is an action that was asked about and that a person allowed.
type Ratified struct {
	Action   carrel.Action
	Decision carrel.Decision
	By       string // who said yes, last
	At       time.Time
	Record   int64 // of the log: where the last one is
	Times    int   // how often; filled in by Learn
}

// learnRatified adds what was asked and allowed: each distinct action once,
// with how often and by whom, newest last. A rule that asks is a rule's own
// business: what is proposed is a list that it can except.
func (l *Learned) learnRatified(ratified []Ratified) (exceptions []Ratified, tools []string) {
	for _, r := range ratified {
		rules := r.Decision.Rules
		switch {
		case hasRule(r.Decision, "builtin/"):
			l.leave(line(r.Action) + ": people allowed it, and the built-in floor asks always")
		case r.Action.Operation == carrel.OpTool && hasRule(r.Decision, "hook/") && len(rules) == 1:
			if !slices.Contains(tools, r.Action.Subject) {
				tools = append(tools, r.Action.Subject)
			}
		default:
			i := slices.IndexFunc(exceptions, func(o Ratified) bool { return RuleFor("", o.Action) == RuleFor("", r.Action) })
			if i < 0 {
				i, exceptions = len(exceptions), append(exceptions, r)
			}
			exceptions[i].By, exceptions[i].At, exceptions[i].Record = r.By, r.At, r.Record
			exceptions[i].Times++
		}
	}
	return exceptions, tools
}

// leave says, once, that nothing is proposed for something.
func (l *Learned) leave(why string) {
	if !slices.Contains(l.Left, why) {
		l.Left = append(l.Left, why)
	}
}

// ratifiedRego writes the exceptions with the evidence for each.
func ratifiedRego(exceptions []Ratified) string {
	var b strings.Builder
	for _, r := range exceptions {
		fmt.Fprintf(&b, "\n# Asked by %s, allowed %s; last by %s on %s, record %d of the log.\n# It counts once that rule says `not ratified`.\n%s\n",
			oneLine(strings.Join(r.Decision.Rules, ", ")), times(r.Times), oneLine(r.By), r.At.UTC().Format(time.DateOnly), r.Record, RuleFor("ratified", r.Action))
	}
	return b.String()
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
