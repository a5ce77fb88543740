package engine

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/carrel-dev/carrel"
)

// sarif is the change as SARIF 2.1.0, which code hosts show beside the lines
// of a pull request: a result for each file that policy does not let by, and
// for each label of medium severity and above.
func (c *CheckedChange) sarif() map[string]any {
	rules, results := []any{}, []any{}
	index := map[string]int{}
	add := func(rule, reason, level string, f CheckedFile) {
		if rule == "" {
			rule = "policy/not-allowed"
		}
		i, known := index[rule]
		if !known {
			i = len(rules)
			index[rule] = i
			rules = append(rules, map[string]any{"id": rule, "shortDescription": map[string]any{"text": reason}})
		}
		results = append(results, map[string]any{
			"ruleId": rule, "ruleIndex": i, "level": level,
			"message":   map[string]any{"text": reason},
			"locations": []any{map[string]any{"physicalLocation": location(f.Path)}},
			// The same finding in a later push is the same alert.
			"partialFingerprints": map[string]any{"carrel/v1": carrel.DigestBytes([]byte(rule + "\x00" + string(f.Path))).Hex()},
		})
	}
	for _, f := range c.Files {
		if d := f.Decision; d.Verdict != carrel.Allow {
			level := map[carrel.Verdict]string{carrel.Deny: "error", carrel.Ask: "warning"}[d.Verdict]
			add(firstRule(d), d.Reason, level, f)
		}
		for _, l := range f.Labels {
			if l.Severity.Rank() >= carrel.SeverityMedium.Rank() {
				add("risk/"+l.Name, l.Reason, "note", f)
			}
		}
	}
	return map[string]any{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
		"runs": []any{map[string]any{
			"tool":               map[string]any{"driver": map[string]any{"name": "carrel", "rules": rules}},
			"results":            results,
			"originalUriBaseIds": map[string]any{"ROOT": map[string]any{"description": map[string]any{"text": "the repository's root"}}},
			"columnKind":         "utf16CodeUnits",
		}},
	}
}

// location names a file as a URI reference below the repository's root.
func location(path carrel.Text) map[string]any {
	parts := strings.Split(string(path), "/")
	for i, p := range parts {
		if !utf8.ValidString(p) {
			p = strings.ToValidUTF8(p, "\uFFFD")
		}
		parts[i] = strings.ReplaceAll(url.PathEscape(p), ":", "%3A") // before it would be a scheme
	}
	return map[string]any{
		"artifactLocation": map[string]any{"uri": strings.Join(parts, "/"), "uriBaseId": "ROOT"},
		"region":           map[string]any{"startLine": 1},
	}
}
