package policy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/carrel-dev/carrel/internal/policy/evaluator"
)

// TestResult is one test: a rule test_… or a row of a table.
type TestResult struct {
	Name  string `json:"name"`
	File  string `json:"file"`
	Line  int    `json:"line,omitempty"`
	Pass  bool   `json:"pass"`
	Error string `json:"error,omitempty"` // why not
}

// TestReport is what a run of tests found.
type TestReport struct {
	Passed   int            `json:"passed"`
	Failed   int            `json:"failed"`
	Coverage float64        `json:"coverage"` // of lines of the policy, in percent
	Tests    []TestResult   `json:"tests"`
	Files    []FileCoverage `json:"files"`
}

// FileCoverage says what no test looked at.
type FileCoverage struct {
	Name     string  `json:"name"`
	Coverage float64 `json:"coverage"`
	Missing  []int   `json:"missing,omitempty"` // lines
}

// Test runs what lies beside the sources of a layer at path: rules test_… of
// _test.rego files, and tables of actions in _test.yaml files. It bounds the
// memory of this process.
func Test(l Layer, path string) (TestReport, error) {
	if err := evaluator.Bound(); err != nil {
		return TestReport{}, err
	}
	p, err := compileLayer(l)
	if err != nil {
		return TestReport{}, err
	}
	files, err := testFiles(path)
	if err != nil {
		return TestReport{}, err
	}
	t := &tests{program: p, cover: cover.New()}
	if err := t.rego(l, files); err != nil {
		return TestReport{}, err
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name, ".rego") {
			if err := t.table(f); err != nil {
				return TestReport{}, err
			}
		}
	}
	if len(t.results) == 0 {
		return TestReport{}, fmt.Errorf("no tests beside %s: write rules test_… in a file _test.rego, or a table of actions in a file _test.yaml", path)
	}
	return t.report(), nil
}

func testFiles(path string) ([]File, error) {
	dir := path
	isTest := func(name string) bool {
		return strings.HasSuffix(name, "_test.rego") || strings.HasSuffix(name, "_test.yaml") || strings.HasSuffix(name, "_test.yml")
	}
	find := sources
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		dir, find = filepath.Dir(path), beside
	}
	var out []File
	names, err := find(dir, isTest)
	for _, name := range names {
		f, ferr := readFile(filepath.Join(dir, name), name)
		out, err = append(out, f), errors.Join(err, ferr)
	}
	return out, err
}

// tests is one run of tests.
type tests struct {
	program *program
	cover   *cover.Cover
	results []TestResult
}

func (t *tests) add(name, file string, line int, err error) {
	r := TestResult{Name: name, File: file, Line: line, Pass: err == nil}
	if err != nil {
		r.Error = err.Error()
	}
	t.results = append(t.results, r)
}

// rego compiles the layer together with its Rego tests, and runs them.
func (t *tests) rego(l Layer, files []File) error {
	with := l
	with.Files = slices.Clone(l.Files)
	for _, f := range files {
		if strings.HasSuffix(f.Name, ".rego") {
			with.Files = append(with.Files, f)
		}
	}
	if len(with.Files) == len(l.Files) {
		return nil
	}
	modules, err := parseLayer(with)
	if err != nil {
		return err
	}
	c, err := compileModules(modules)
	if err != nil {
		return err
	}
	data, err := newBase(l.Data, c)
	if err != nil {
		return err
	}
	for _, m := range modules {
		seen := map[string]bool{}
		for _, r := range m.ast.Rules {
			name := string(r.Head.Name)
			if strings.HasPrefix(name, "test_") && !seen[name] {
				seen[name] = true
				ref := m.ast.Package.Path.Append(ast.StringTerm(name))
				t.add(m.pkg()+"."+name, r.Location.File, r.Location.Row, t.ask(c, data, ref))
			}
		}
	}
	return nil
}

// ask evaluates one test: it passes if it is true.
func (t *tests) ask(c *ast.Compiler, data base, test ast.Ref) error {
	cancel := topdown.NewCancel()
	defer time.AfterFunc(deadline, cancel.Cancel).Stop()
	body := ast.NewBody(ast.Equality.Expr(ast.VarTerm("x"), ast.NewTerm(test)))
	results, err := topdown.NewQuery(body).WithCompiler(c).WithStore(data).WithCancel(cancel).WithTime(epoch).
		WithStrictBuiltinErrors(true).WithQueryTracer(t.cover).Run(context.Background())
	switch {
	case err != nil:
		return errors.New(oneLine(err.Error()))
	case len(results) != 1 || results[0]["x"].Value.Compare(ast.Boolean(true)) != 0:
		return errors.New("not true")
	}
	return nil
}

func (t *tests) report() TestReport {
	modules := map[string]*ast.Module{}
	for _, m := range t.program.modules {
		modules[m.file.Name] = m.ast
	}
	covered := t.cover.Report(modules)
	r := TestReport{Tests: t.results}
	lines, hit := 0, 0
	for name := range modules {
		f := covered.Files[name]
		lines, hit = lines+f.CoveredLines+f.NotCoveredLines, hit+f.CoveredLines
		c := FileCoverage{Name: name, Coverage: f.Coverage}
		for _, missing := range f.NotCovered {
			for line := missing.Start.Row; line <= missing.End.Row; line++ {
				c.Missing = append(c.Missing, line)
			}
		}
		slices.Sort(c.Missing)
		c.Missing = slices.Compact(c.Missing) // several expressions of a line
		r.Files = append(r.Files, c)
	}
	slices.SortFunc(r.Files, func(a, b FileCoverage) int { return strings.Compare(a.Name, b.Name) })
	if lines > 0 {
		r.Coverage = float64(hit) * 100 / float64(lines)
	}
	for _, result := range t.results {
		if result.Pass {
			r.Passed++
		} else {
			r.Failed++
		}
	}
	return r
}
