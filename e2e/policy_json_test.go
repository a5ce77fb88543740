//go:build linux

package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documentedMembers reads the table of docs/policies.md: what each verb
// prints with --json, and which of it may be missing.
func documentedMembers(t *testing.T) (always, sometimes map[string][]string) {
	t.Helper()
	page, err := os.ReadFile("../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| `--json` of | members |")
	table, _, _ = strings.Cut(table, "\n\n")
	always, sometimes = map[string][]string{}, map[string][]string{}
	more := regexp.MustCompile(`\([^()]*, [^()]*\)`) // what a member has inside
	member := regexp.MustCompile("(\\(?)`([a-z_]+)`")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 || !strings.Contains(cells[1], "carrel ") {
			continue
		}
		verb := strings.TrimPrefix(strings.Trim(cells[1], " `"), "carrel ")
		for _, m := range member.FindAllStringSubmatch(more.ReplaceAllString(cells[2], ""), -1) {
			list := always
			if m[1] != "" {
				list = sometimes
			}
			list[verb] = append(list[verb], m[2])
		}
	}
	return always, sometimes
}

// What other programs read has the members that the docs name, no others, and
// an empty list where there is nothing.
func TestJSONIsAsDocumented(t *testing.T) {
	h := asUser(t)
	always, sometimes := documentedMembers(t)
	if len(always) != 11 {
		t.Fatalf("the table has the verbs %v", slices.Sorted(maps.Keys(always)))
	}
	tried := map[string]bool{}
	is := func(verb string, args ...string) {
		t.Helper()
		tried[verb] = true
		r := h.carrel(append(append(strings.Fields(verb), "--json"), args...)...)
		var got map[string]json.RawMessage
		if err := json.NewDecoder(strings.NewReader(r.out)).Decode(&got); err != nil {
			t.Fatalf("%s: %v: %s", verb, err, r)
		}
		for name, value := range got {
			if !slices.Contains(always[verb], name) && !slices.Contains(sometimes[verb], name) {
				t.Errorf("%s: %s is not documented", verb, name)
			}
			if string(value) == "null" {
				t.Errorf("%s: %s is null", verb, name)
			}
		}
		for _, name := range always[verb] {
			if _, ok := got[name]; !ok {
				t.Errorf("%s lacks %s\n%s", verb, name, r)
			}
		}
	}
	is("report")
	h.must("policy", "init", "team")
	flags, fetch := asking(h)
	refused := h.inside(fetch+"; getent hosts evil.test; true", append(flags, "--ask-timeout", "1s")...)
	h.expect(refused, 0)
	id := regexp.MustCompile(`act_[0-9a-z]{26}`)
	for _, kind := range []string{"refused", "intent", "observation"} {
		for line := range strings.Lines(h.must("log", "show", "--all", "--json").out) {
			if strings.Contains(line, `"kind":"`+kind+`"`) && id.MatchString(line) {
				is("policy explain", id.FindString(line))
				break
			}
		}
	}
	is("policy learn", "latest")
	input := h.write("input.json", `{"operation": "write", "path": "/workspace/a"}`)
	is("policy eval", "--input", input, "--policy", "team")
	is("policy eval", "--input", h.write("wrong.json", `{"operation": "write", "path": 7}`))
	is("policy eval", "--input", h.write("no.json", `]`))
	is("policy check", "team")
	is("policy check", h.write("weak.rego", "package cowork.access\n\nimport rego.v1\n\nallow if startswith(input.path, \"/workspace/docs\")\n\ndeny if input.opration == \"write\"\n"))
	is("policy test", "team")
	is("policy diff", "team", "team")
	is("policy diff", "team", h.write("none.rego", "package cowork.access\n\nallow := false\n"))
	is("policy simulate", "--candidate", "team")
	is("policy show")
	is("policy check-change")
	h.write("repo/.github/workflows/ci.yml", "on: push\n")
	h.git("add", "-A")
	is("policy check-change")
	is("report")
	done := make(chan result)
	go func() { done <- h.inside(fetch, flags...) }()
	q := h.awaitQuestion()
	is("pending")
	h.must("deny", q.Action.ID)
	<-done
	for verb := range always {
		if !tried[verb] {
			t.Errorf("%s is documented and not tried", verb)
		}
	}
}
