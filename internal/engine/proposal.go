package engine

import (
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/approval"
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
	return head + fmt.Sprintf("# in the rule %s of your policy, leave exactly this out:\n#   input.operation == %q\n%s", rule, a.Operation, exactly(a))
}

// exactly is the condition that holds for one action's target.
func exactly(a carrel.Action) string {
	switch a.Operation {
	case carrel.OpRead, carrel.OpWrite, carrel.OpDelete:
		return fmt.Sprintf("#   input.path == %q\n", a.Path)
	case carrel.OpExec:
		words := make([]string, len(a.Argv))
		for i, w := range a.Argv {
			words[i] = fmt.Sprintf("%q", string(w))
		}
		return "#   input.argv == [" + strings.Join(words, ", ") + "]\n"
	case carrel.OpResolve, carrel.OpConnect:
		return fmt.Sprintf("#   input.host == %q\n", a.Host)
	case carrel.OpRequest:
		return fmt.Sprintf("#   input.host == %q\n#   input.method == %q\n#   input.url == %q\n", a.Host, a.Method, string(a.URL))
	}
	return fmt.Sprintf("#   input.subject == %q\n", a.Subject)
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n    ") + "\n"
}
