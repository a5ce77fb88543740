package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// Bounds of a layer's sources: a policy written by people is far smaller and
// compiles in milliseconds. Compiling cannot be interrupted, so a layer that
// takes longer is given up, not waited for.
const (
	maxCompile = 5 * time.Second

	maxFile  = 1 << 20
	maxFiles = 200
	maxDepth = 200
	maxRules = 5000
)

// module is one parsed source.
type module struct {
	file     File
	ast      *ast.Module
	version  string // "v0" or "v1"
	declared bool   // the source says its version
}

// parseModule parses f as Rego v1, then as v0, unless it says which it is.
// What both versions accept, both read alike: v1 only forbids more. A test
// holds the parser to that.
func parseModule(f File) (module, error) {
	if !utf8.Valid(f.Source) {
		return module{}, fmt.Errorf("%s is not text in UTF-8", f.Name)
	}
	if err := checkDepth(f); err != nil {
		return module{}, err
	}
	v1, err := parseAs(f, ast.RegoV1)
	if declared := declaresV1(f.Source); err == nil || declared {
		return module{f, v1, "v1", declared}, parseError(err, nil)
	}
	v0, err0 := parseAs(f, ast.RegoV0)
	return module{f, v0, "v0", false}, parseError(err0, err)
}

func parseAs(f File, version ast.RegoVersion) (*ast.Module, error) {
	m, err := ast.ParseModuleWithOpts(f.Name, string(f.Source), ast.ParserOptions{RegoVersion: version})
	if err == nil && m == nil {
		return nil, fmt.Errorf("%s: empty", f.Name)
	}
	if err == nil && len(m.Rules) > maxRules {
		return nil, fmt.Errorf("%s: more than %d rules", f.Name, maxRules)
	}
	return m, err
}

func declaresV1(source []byte) bool {
	for line := range strings.Lines(string(source)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "import" && strings.TrimSuffix(fields[1], ";") == "rego.v1" {
			return true
		}
	}
	return false
}

// parseError prefers the reading that got further: its complaint is about
// what the author meant. OPA's errors name file and line.
func parseError(err, other error) error {
	switch {
	case err == nil:
		return nil
	case other == nil:
		return firstError(err)
	case errorLine(other) > errorLine(err):
		err = other
	}
	return fmt.Errorf("neither Rego v1 nor v0: %w", firstError(err))
}

func errorLine(err error) int {
	var errs ast.Errors
	if errors.As(err, &errs) && len(errs) > 0 && errs[0].Location != nil {
		return errs[0].Location.Row
	}
	return 0
}

// firstError cuts OPA's lists of errors down to the line that people read.
func firstError(err error) error {
	var errs ast.Errors
	if !errors.As(err, &errs) || len(errs) == 0 {
		return err
	}
	errs.Sort()
	more := ""
	if len(errs) > 1 {
		more = fmt.Sprintf(" (and %d more)", len(errs)-1)
	}
	return fmt.Errorf("%v: %s%s", errs[0].Location, oneLine(errs[0].Message), more)
}

// checkDepth refuses sources nested so deeply that parsing them would exhaust
// the stack, before anything recursive looks at them. Brackets in strings and
// comments do not count.
func checkDepth(f File) error {
	depth, line := 0, 1
	var inside byte // the quote or # that opened what i is in
	for i := 0; i < len(f.Source); i++ {
		c := f.Source[i]
		if c == '\n' {
			line++
		}
		switch {
		case inside == '"' && c == '\\':
			i++
		case inside == '#' && c == '\n', inside == '"' && c == '\n', inside != 0 && inside == c && c != '#':
			inside = 0
		case inside != 0:
		case c == '"', c == '`', c == '#':
			inside = c
		case c == '(', c == '[', c == '{':
			depth++
		case c == ')', c == ']', c == '}':
			depth = max(0, depth-1)
		}
		if depth > maxDepth {
			return fmt.Errorf("%s:%d: nested deeper than %d", f.Name, line, maxDepth)
		}
	}
	return nil
}

// pkg is the module's package as "data.cowork.access".
func (m module) pkg() string { return m.ast.Package.Path.String() }

// constant returns the strings of a rule that is a set or array of constant
// strings, such as `governs := {"write"}`. ok says whether there is one.
func (m module) constant(name string) (values []string, ok bool, err error) {
	for _, r := range m.ast.Rules {
		if r.Head.Name.String() != name && r.Head.Ref().String() != name {
			continue
		}
		where := fmt.Sprintf("%s:%d", m.file.Name, r.Location.Row)
		if ok || r.Head.Value == nil || len(r.Body) != 1 || !isTrue(r.Body[0]) {
			return nil, false, fmt.Errorf("%s: `%s` must be said once, as a set of constants", where, name)
		}
		if values, err = constants(r.Head.Value.Value); err != nil {
			return nil, false, fmt.Errorf("%s: `%s`: %w", where, name, err)
		}
		ok = true
	}
	return values, ok, nil
}

func isTrue(e *ast.Expr) bool {
	t, ok := e.Terms.(*ast.Term)
	return ok && !e.Negated && len(e.With) == 0 && t.Value.Compare(ast.Boolean(true)) == 0
}

func constants(v ast.Value) ([]string, error) {
	var out []string
	bad := false
	add := func(t *ast.Term) {
		s, ok := t.Value.(ast.String)
		bad = bad || !ok
		out = append(out, string(s))
	}
	switch v := v.(type) {
	case ast.Set:
		v.Foreach(add)
	case *ast.Array:
		v.Foreach(add)
	default:
		bad = true
	}
	if bad {
		return nil, errors.New("must be a set of constant strings")
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func operations(names []string) ([]carrel.Operation, error) {
	var out []carrel.Operation
	for _, n := range names {
		op := carrel.Operation(n)
		if !slices.Contains(carrel.AgentOperations, op) && !slices.Contains(carrel.OperatorOperations, op) {
			return nil, fmt.Errorf("%q is not an operation; the operations are %v and, for the organisation, %v", n, carrel.AgentOperations, carrel.OperatorOperations)
		}
		out = append(out, op)
	}
	return out, nil
}
