package hook

import (
	"fmt"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
)

// Operations are what Rules govern.
var Operations = []carrel.Operation{carrel.OpRead, carrel.OpWrite, carrel.OpDelete, carrel.OpExec, carrel.OpTool}

// Rules are what the user's configuration says about tools: one voice of the
// policy. The zero value lets the client's own tools through and asks about
// every other.
type Rules struct {
	Tools []string `json:"tools"` // granted; a * at the end stands for anything
	Hide  []string `json:"hide"`  // below the workspace: not to be read or written
}

// Decide answers an action of one of Operations.
func (r Rules) Decide(a carrel.Action) carrel.Decision {
	switch a.Operation {
	case carrel.OpTool:
		return r.tool(a.Subject, clientOf(a.Agent))
	case carrel.OpExec:
		if a.Reason != "" {
			d := decision(carrel.Ask, "unclear", string(a.Reason))
			d.NextSteps = []string{"write the program out by its name"}
			return d
		}
	case carrel.OpRead, carrel.OpWrite, carrel.OpDelete:
		for _, h := range r.Hide {
			hidden := carrel.DeskWorkspace + "/" + h
			if a.Path == hidden || strings.HasPrefix(a.Path, hidden+"/") {
				return decision(carrel.Deny, "hidden", fmt.Sprintf("the configuration hides %s", h))
			}
		}
	}
	return carrel.Decision{Verdict: carrel.Allow}
}

func (r Rules) tool(name string, c *Client) carrel.Decision {
	granted := slices.ContainsFunc(r.Tools, func(pattern string) bool {
		prefix, open := strings.CutSuffix(pattern, "*")
		return name == pattern || open && strings.HasPrefix(name, prefix)
	})
	switch {
	case granted:
		return decision(carrel.Allow, "granted", "the configuration grants "+name)
	case c.own[name]:
		return decision(carrel.Allow, "own-tool", name+" acts on the conversation only")
	}
	d := decision(carrel.Ask, "tool", name+" acts outside the workspace; people allow it")
	d.NextSteps = []string{"grant it in the configuration: tools: [" + name + "]"}
	return d
}

func decision(v carrel.Verdict, rule, reason string) carrel.Decision {
	return carrel.Decision{Verdict: v, Rules: []string{rule}, Reason: reason}
}
