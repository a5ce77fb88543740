package engine

import (
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/approval"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/private"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// propose writes down the narrowest rule that would allow an action without
// asking. It is never put in force by itself.
func (e *Records) propose(q approval.OpenQuestion) (string, error) {
	rule := proposedRule(q)
	path := e.state("proposals", string(q.Action.ID)+".txt")
	if err := private.Replace(path, []byte(rule)); err != nil {
		return "", fmt.Errorf("keeping the proposed rule: %w", err)
	}
	return rule + "# kept as " + path + "\n", nil
}

func proposedRule(q approval.OpenQuestion) string {
	a, rule := q.Action, firstRule(q.Decision)
	head := fmt.Sprintf("# asked by %s: %s\n# %s\n", rule, terminal.Escape(q.Decision.Reason), describeAction(a))
	layer, _, _ := strings.Cut(rule, "/")
	switch {
	case a.Operation == carrel.OpTool && layer == "hook":
		return head + "tools: [" + terminal.Escape(a.Subject) + "]\n"
	case layer == "builtin":
		return head + "# the built-in floor asks about this always; no rule can lift it\n"
	}
	return head + fmt.Sprintf("# in the rule %s of your policy, leave exactly this out:\n%s", rule, exactly(a))
}

// exactly is the condition that holds for one action, as a comment.
func exactly(a carrel.Action) string {
	var b strings.Builder
	for _, c := range policy.ConditionsFor(a) {
		b.WriteString("#   " + terminal.Escape(c) + "\n")
	}
	return b.String()
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n    ") + "\n"
}
