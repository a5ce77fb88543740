package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// Bounds of a layer's sources. Compiling has no deadline of its own, so what
// is compiled is bounded: a policy written by people is far smaller.
const (
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

// parseModule parses f as Rego v1, then as v0, unless it says which it is. A
// source that both versions accept and read differently is refused: nobody
// but its author can know what was meant.
func parseModule(f File) (module, error) {
	if len(f.Source) > maxFile {
		return module{}, fmt.Errorf("%s: larger than %d bytes", f.Name, maxFile)
	}
	if err := checkDepth(f); err != nil {
		return module{}, err
	}
	m := module{file: f}
	v1, err1 := parseAs(f, ast.RegoV1)
	if declaresV1(f.Source) {
		m.ast, m.version, m.declared = v1, "v1", true
		return m, parseError(f, err1, nil)
	}
	v0, err0 := parseAs(f, ast.RegoV0)
	switch {
	case err1 == nil && err0 == nil && !sameRules(v0, v1):
		return m, fmt.Errorf("%s: means different things in Rego v0 and v1; add `import rego.v1` and write it for v1", f.Name)
	case err1 == nil:
		m.ast, m.version = v1, "v1"
	default:
		m.ast, m.version = v0, "v0"
		return m, parseError(f, err0, err1)
	}
	return m, nil
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
// what the author meant.
func parseError(f File, err, other error) error {
	if err == nil {
		return nil
	}
	if other != nil && errorLine(other) > errorLine(err) {
		err = other
	}
	if other != nil {
		return fmt.Errorf("%s: neither Rego v1 nor v0: %w", f.Name, firstError(err))
	}
	return fmt.Errorf("%s: %w", f.Name, firstError(err))
}

func errorLine(err error) int {
	var errs ast.Errors
	if errors.As(err, &errs) && len(errs) > 0 && errs[0].Location != nil {
		return errs[0].Location.Row
	}
	return 0
}

// firstError cuts OPA's lists of errors down to what people read.
func firstError(err error) error {
	var errs ast.Errors
	if !errors.As(err, &errs) || len(errs) < 2 {
		return err
	}
	errs.Sort()
	return fmt.Errorf("%w (and %d more)", errs[0], len(errs)-1)
}

func sameRules(a, b *ast.Module) bool {
	return slices.EqualFunc(a.Rules, b.Rules, func(x, y *ast.Rule) bool { return x.Equal(y) })
}

// checkDepth refuses sources nested so deeply that parsing them would exhaust
// the stack, before anything recursive looks at them.
func checkDepth(f File) error {
	depth, line := 0, 1
	for _, c := range f.Source {
		switch c {
		case '\n':
			line++
		case '(', '[', '{':
			if depth++; depth > maxDepth {
				return fmt.Errorf("%s:%d: nested deeper than %d", f.Name, line, maxDepth)
			}
		case ')', ']', '}':
			depth = max(0, depth-1)
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
