package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
)

// maxFindings bounds how many denials or asks of one layer are told.
const maxFindings = 20

// finding is one denial or ask, as a policy put it.
type finding struct {
	rule, msg string
	next      []string
}

// interpret reads the three answers of a Rego entry, each an array that is
// empty when the rule is undefined. What is neither clearly "no" nor clearly
// "nothing" counts as "no".
func interpret(allow, deny, ask any) Answer {
	if found := findings("deny", deny); len(found) > 0 {
		return answerOf(carrel.Deny, found)
	}
	if found := findings("ask", ask); len(found) > 0 {
		return answerOf(carrel.Ask, found)
	}
	if values, ok := allow.([]any); ok && len(values) == 1 && values[0] == true {
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
func findings(kind string, answer any) []finding {
	values, ok := answer.([]any)
	if !ok {
		return []finding{plainFinding(kind)}
	}
	if len(values) == 0 {
		return nil
	}
	switch v := values[0].(type) {
	case bool:
		if !v {
			return nil
		}
	case []any:
		return each(kind, v)
	case map[string]any:
		return ofObject(kind, v)
	}
	return []finding{one(kind, values[0])}
}

func each(kind string, values []any) []finding {
	var out []finding
	for _, v := range values {
		out = append(out, one(kind, v))
	}
	return out
}

// ofObject tells one finding with msg from findings by name.
func ofObject(kind string, v map[string]any) []finding {
	if _, ok := v["msg"]; ok {
		return []finding{one(kind, v)}
	}
	var out []finding
	for _, name := range sortedKeys(v) {
		f := one(kind, v[name])
		if m, ok := v[name].(map[string]any); v[name] == true || ok && m["msg"] == nil {
			f.msg = name
		}
		out = append(out, f)
	}
	return out
}

func one(kind string, v any) finding {
	f := plainFinding(kind)
	switch v := v.(type) {
	case string:
		f.msg = firstText(v, f.msg)
	case map[string]any:
		f.msg = firstText(v["msg"], f.msg)
		f.rule = firstText(v["rule"], f.rule)
		f.next = texts(v["next"])
	case bool:
	default:
		if b, err := json.Marshal(v); err == nil {
			f.msg = string(b)
		}
	}
	f.msg = strings.ToValidUTF8(f.msg[:min(len(f.msg), 1000)], "\ufffd")
	f.rule = strings.ToValidUTF8(f.rule[:min(len(f.rule), 100)], "\ufffd")
	return f
}

func plainFinding(kind string) finding {
	if kind == "ask" {
		return finding{rule: kind, msg: "the policy asks for approval"}
	}
	return finding{rule: kind, msg: "the policy denies it"}
}

func firstText(v any, otherwise string) string {
	if s, ok := v.(string); ok && s != "" {
		return s
	}
	return otherwise
}

func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v[:min(len(v), maxFindings)] {
			out = append(out, fmt.Sprint(e))
		}
		return out
	}
	return nil
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
