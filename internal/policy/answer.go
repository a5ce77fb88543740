package policy

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// maxFindings bounds how many denials or asks of one layer are told.
const maxFindings = 20

// finding is one denial or ask, as a policy put it.
type finding struct {
	rule, msg string
	next      []string
}

// interpret reads the three answers of a Rego entry, nil where the rule is
// undefined. What is neither clearly "no" nor clearly
// "nothing" counts as "no".
func interpret(allow, deny, ask ast.Value) Answer {
	if found := findings("deny", deny); len(found) > 0 {
		return answerOf(carrel.Deny, found)
	}
	if found := findings("ask", ask); len(found) > 0 {
		return answerOf(carrel.Ask, found)
	}
	if allow == ast.Boolean(true) {
		return Answer{Verdict: carrel.Allow, Rules: []string{"allow"}}
	}
	return Answer{Verdict: carrel.Deny, Rules: []string{"not-allowed"}}
}

func answerOf(verdict carrel.Verdict, found []finding) Answer {
	a := Answer{Verdict: verdict, Reason: found[0].msg}
	for _, f := range found[:min(len(found), maxFindings)] {
		if !slices.Contains(a.Rules, f.rule) {
			a.Rules = append(a.Rules, f.rule)
		}
		for _, n := range f.next {
			if !slices.Contains(a.NextSteps, n) {
				a.NextSteps = append(a.NextSteps, n)
			}
		}
	}
	return a
}

// findings understands a boolean, a string, one object with msg, an object of
// findings by name, an array and a set; empty and false are none.
func findings(kind string, answer ast.Value) []finding {
	switch v := answer.(type) {
	case nil:
		return nil
	case ast.Boolean:
		if !v {
			return nil
		}
		return []finding{plainFinding(kind)}
	case *ast.Array:
		return each(kind, v.Len(), v.Foreach)
	case ast.Set:
		return each(kind, v.Len(), v.Foreach)
	case ast.Object:
		return ofObject(kind, v)
	default:
		return []finding{one(kind, v)}
	}
}

func each(kind string, n int, values func(func(*ast.Term))) []finding {
	if n == 0 {
		return nil
	}
	out := make([]finding, 0, n)
	values(func(t *ast.Term) { out = append(out, one(kind, t.Value)) })
	return out
}

// ofObject tells one finding with msg from findings by name.
func ofObject(kind string, v ast.Object) []finding {
	if v.Get(msgKey) != nil {
		return []finding{one(kind, v)}
	}
	var out []finding
	v.Foreach(func(name, t *ast.Term) {
		f := one(kind, t.Value)
		if o, ok := t.Value.(ast.Object); t.Value == ast.Boolean(true) || ok && o.Get(msgKey) == nil {
			f.msg = cut(textOr(name, name.String()), maxMessage)
		}
		out = append(out, f)
	})
	return out
}

var (
	msgKey  = ast.StringTerm("msg")
	ruleKey = ast.StringTerm("rule")
	nextKey = ast.StringTerm("next")
)

const (
	maxMessage  = 1000 // bytes of a reason
	maxRuleName = 100
)

func one(kind string, v ast.Value) finding {
	f := plainFinding(kind)
	switch v := v.(type) {
	case ast.String:
		f.msg = firstText(string(v), f.msg)
	case ast.Object:
		f.msg = textOr(v.Get(msgKey), f.msg)
		f.rule = textOr(v.Get(ruleKey), f.rule)
		f.next = texts(v.Get(nextKey))
	case ast.Boolean:
	default:
		f.msg = v.String()
	}
	f.msg, f.rule = cut(f.msg, maxMessage), cut(f.rule, maxRuleName)
	return f
}

// cut bounds a text and keeps it whole characters.
func cut(s string, limit int) string {
	return strings.ToValidUTF8(s[:min(len(s), limit)], "\ufffd")
}

func plainFinding(kind string) finding {
	if kind == "ask" {
		return finding{rule: kind, msg: "the policy asks for approval"}
	}
	return finding{rule: kind, msg: "the policy denies it"}
}

func firstText(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

// textOr is the text of t, or otherwise where it is none.
func textOr(t *ast.Term, otherwise string) string {
	if t != nil {
		if s, ok := t.Value.(ast.String); ok {
			return firstText(string(s), otherwise)
		}
	}
	return otherwise
}

func texts(t *ast.Term) []string {
	if t == nil {
		return nil
	}
	var out []string
	add := func(t *ast.Term) {
		if len(out) < maxFindings {
			out = append(out, cut(textOr(t, t.String()), maxMessage))
		}
	}
	switch v := t.Value.(type) {
	case ast.String:
		add(t)
	case *ast.Array:
		v.Foreach(add)
	case ast.Set:
		v.Foreach(add)
	}
	return out
}
