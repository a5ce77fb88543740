package policy

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/carrel-dev/carrel"
)

// Learned is a proposal made from what was refused, and from what was asked
// and allowed: rules for exactly that and nothing beside it, and their tests. It is in force only when a
// person has put it there.
type Learned struct {
	Rego   []byte // a layer of its own
	Table  []byte // its tests: what it allows, and neighbours that it must not
	Config []byte // what the configuration would have to grant, as YAML; empty if nothing
	Rules  int
	Left   []string // refused actions that nothing is proposed for, and why
}

// Refused is an action that was denied, or asked and not answered.
type Refused struct {
	Action   carrel.Action
	Decision carrel.Decision
	Record   int64 // of the log
	Times    int64 // how often; 0 is once
}

// Learn proposes rules for what was refused for want of one. Nothing is
// proposed where a rule said no, or asked and nobody said yes: no further rule
// lifts that.
func Learn(refused []Refused, ratified []Ratified) (Learned, error) {
	var l Learned
	var grants []grant
	var actions []carrel.Action
	for _, r := range refused {
		a := r.Action
		switch name := line(a); {
		case hasRule(r.Decision, "builtin/") || hasRule(r.Decision, "input/"):
			l.leave(name + ": " + r.Decision.Reason + " (the built-in floor)")
		case hasRule(r.Decision, "egress/") || hasRule(r.Decision, "policy/not-granted"):
			if g, why := grantFor(r); why != "" {
				l.leave(name + ": " + r.Decision.Reason + " (" + why + ")")
			} else {
				grants = append(grants, g)
			}
		case hasRule(r.Decision, "hook/") && a.Operation != carrel.OpTool:
			l.leave(name + ": " + r.Decision.Reason + " (no rule lifts what a hook asks by itself)")
		case hasRule(r.Decision, "credential/"):
			l.leave(name + ": " + r.Decision.Reason + " (a key goes where its entry says, and nowhere else)")
		case !slices.ContainsFunc(r.Decision.Rules, func(rule string) bool { return strings.HasSuffix(rule, "/not-allowed") }):
			l.leave(name + ": " + r.Decision.Reason + " (a rule says so: except it there)")
		case !slices.ContainsFunc(actions, func(b carrel.Action) bool { return RuleFor("", b) == RuleFor("", a) }):
			actions = append(actions, a)
		}
	}
	grants = learnGrants(grants)
	exceptions, tools := l.learnRatified(ratified)
	l.Rules = len(actions) + len(grants) + len(exceptions) + len(tools)
	l.Rego = learnedRego(actions, exceptions)
	var err error
	if l.Table, err = learnedTable(actions, exceptions); err != nil {
		return l, err
	}
	l.Config, err = learnedConfig(grants, tools)
	return l, err
}

// learnedConfig is what the configuration would have to grant.
func learnedConfig(grants []grant, tools []string) ([]byte, error) {
	doc := map[string]any{}
	if len(grants) > 0 {
		var entries []*yaml.Node
		for _, g := range grants {
			n, err := g.node()
			if err != nil {
				return nil, err
			}
			entries = append(entries, n)
		}
		doc["egress"] = entries
	}
	if len(tools) > 0 {
		doc["tools"] = tools
	}
	if len(doc) == 0 {
		return nil, nil
	}
	return yaml.Marshal(doc)
}

func hasRule(d carrel.Decision, prefix string) bool {
	return slices.ContainsFunc(d.Rules, func(r string) bool { return strings.HasPrefix(r, prefix) })
}

func line(a carrel.Action) string {
	switch {
	case len(a.Argv) > 0:
		return fmt.Sprintf("%s %q", a.Operation, a.Argv)
	case a.Host != "":
		return strings.TrimSpace(fmt.Sprintf("%s %s %s", a.Operation, a.Host, a.URL))
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s%s", a.Operation, a.Path, a.Subject))
}

// learnedRego is a library rule in the package that is asked anyway: `allow`
// of several files is one rule, so the proposal takes effect beside what is
// there.
func learnedRego(actions []carrel.Action, exceptions []Ratified) []byte {
	if len(actions)+len(exceptions) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString("# Proposed from what was refused, or asked and allowed. Read it, narrow or widen\n# it, and put it beside the policy whose `allow` it adds to; it lifts no `deny`.\npackage cowork.access\n\nimport rego.v1\n")
	for _, a := range actions {
		fmt.Fprintf(&b, "\n%s\n", RuleFor("allow", a))
	}
	b.WriteString(ratifiedRego(exceptions))
	return []byte(b.String())
}

// learnedTable has a row for each rule, and one for a neighbour of what was
// refused, which must stay so.
func learnedTable(actions []carrel.Action, exceptions []Ratified) ([]byte, error) {
	if len(actions)+len(exceptions) == 0 {
		return nil, nil
	}
	type row struct {
		Name   string         `yaml:"name"`
		Input  map[string]any `yaml:"input,flow"`
		Expect carrel.Verdict `yaml:"expect"`
	}
	var rows []row
	for _, a := range actions {
		near := a.Clone()
		neighbour(&near)
		rows = append(rows, row{line(a), documentOf(a), carrel.Allow})
		if !slices.ContainsFunc(actions, func(b carrel.Action) bool { return RuleFor("", b) == RuleFor("", near) }) {
			rows = append(rows, row{"a neighbour: " + line(near), documentOf(near), carrel.Deny})
		}
	}
	for _, r := range exceptions {
		rows = append(rows, row{"allowed by a person: " + line(r.Action), documentOf(r.Action), carrel.Allow})
	}
	return yaml.Marshal(map[string][]row{"actions": rows})
}

func neighbour(a *carrel.Action) {
	switch {
	case len(a.Argv) > 0:
		a.Argv = append(a.Argv, "--other")
	case a.Path != "":
		a.Path += "-other"
		a.RawPath = carrel.Text(a.Path)
	case a.Host != "":
		a.Host = "other." + a.Host
	default:
		a.Subject += "-other"
	}
}

// documentOf is the smallest input that ParseDocument makes a of.
func documentOf(a carrel.Action) map[string]any {
	doc := map[string]any{"operation": string(a.Operation)}
	texts := map[string]string{"path": a.Path, "cwd": string(a.Cwd), "host": a.Host, "protocol": string(a.Protocol), "method": a.Method, "url": string(a.URL), "subject": a.Subject, "upgrade": a.Upgrade}
	for name, text := range texts {
		if text != "" {
			doc[name] = text
		}
	}
	if a.Port != 0 {
		doc["port"] = a.Port
	}
	if len(a.Argv) > 0 {
		words := make([]string, len(a.Argv))
		for i, w := range a.Argv {
			words[i] = strings.ToValidUTF8(string(w), "\ufffd")
		}
		doc["argv"] = words
	}
	return doc
}
