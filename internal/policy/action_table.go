package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/carrel-dev/carrel"

	"go.yaml.in/yaml/v3"
)

// actionTable is a file of actions with what is expected of each.
type actionTable struct {
	Actions []struct {
		Name   string         `yaml:"name"`
		Input  map[string]any `yaml:"input"`
		Expect carrel.Verdict `yaml:"expect"`
		Rule   string         `yaml:"rule"` // one that the decision must name, without its layer
	} `yaml:"actions"`
}

// goType is what the reader of YAML says of this program, which helps nobody.
var goType = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(` (in|into) (type )?(struct \{.*\}|policy\.\w+)`) })

// table asks the policy, with the floor, about every action of a table.
func (t *tests) table(f File) error {
	var table actionTable
	dec := yaml.NewDecoder(bytes.NewReader(f.Source))
	dec.KnownFields(true)
	if err := dec.Decode(&table); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: not a table of actions, each with name, input, expect and rule: %s", f.Name, oneLine(goType().ReplaceAllString(strings.ReplaceAll(err.Error(), "yaml: unmarshal errors:", ""), "")))
	}
	e, err := t.engine()
	if err != nil {
		return err
	}
	for i, row := range table.Actions {
		if !slices.Contains([]carrel.Verdict{carrel.Allow, carrel.Ask, carrel.Deny}, row.Expect) {
			return fmt.Errorf("%s: action %d: `expect` is allow, ask or deny", f.Name, i+1)
		}
		raw, err := json.Marshal(row.Input)
		if err != nil {
			return fmt.Errorf("%s: action %d: %w", f.Name, i+1, err)
		}
		t.add(cmp.Or(row.Name, fmt.Sprintf("action %d", i+1)), f.Name, 0, expect(e, raw, row.Expect, row.Rule))
	}
	return nil
}

func expect(e *Engine, raw []byte, verdict carrel.Verdict, rule string) error {
	x, ignored := e.ExplainDocument(raw)
	d := x.Decision
	switch {
	case len(ignored) > 0:
		return fmt.Errorf("no policy sees %s", strings.Join(ignored, ", "))
	case d.Verdict != verdict:
		return fmt.Errorf("%s, expected %s: %s (%s)", d.Verdict, verdict, d.Reason, strings.Join(d.Rules, ", "))
	case rule != "" && !slices.ContainsFunc(d.Rules, func(r string) bool { _, name, _ := strings.Cut(r, "/"); return name == rule }):
		return fmt.Errorf("%s by %s, expected the rule %s", d.Verdict, strings.Join(d.Rules, ", "), rule)
	}
	return nil
}

// engine asks the floor and the layer under test, and looks at what the tests
// reach.
func (t *tests) engine() (*Engine, error) {
	floor, _, err := builtinEntries()
	if err != nil {
		return nil, err
	}
	e := &Engine{entries: floor, digest: carrel.DigestBytes(nil)}
	for i, v := range t.program.voices {
		q := *t.program.questions[i]
		q.tracer = t.cover
		e.entries = append(e.entries, &entry{voice: v, ask: func(in input) (Answer, bool) { return q.answer(in.value) }})
	}
	return e, nil
}
