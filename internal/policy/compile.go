package policy

import (
	"errors"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

func parseLayer(l Layer) ([]module, error) {
	var out []module
	total, rules := 0, 0
	for _, f := range l.Files {
		if total += len(f.Source); total > maxFile || len(out) == maxFiles {
			return nil, fmt.Errorf("more than %d files or %d bytes of policy", maxFiles, maxFile)
		}
		m, err := parseModule(f)
		if err != nil {
			return nil, err
		}
		if rules += len(m.ast.Rules); rules > maxRules {
			return nil, fmt.Errorf("%s: more than %d rules", f.Name, maxRules)
		}
		out = append(out, m)
	}
	if len(out) == 0 {
		return nil, errors.New("no policy files")
	}
	return out, nil
}

// compileModules compiles modules together. A source that does not say its
// version and fails as v1 (it calls a function that v1 dropped) is tried as v0.
func compileModules(modules []module) (*ast.Compiler, error) {
	c, err := compile(modules)
	if err == nil {
		return c, nil
	}
	older := slices.Clone(modules)
	for i, m := range older {
		if !m.declared && m.version == "v1" {
			if v0, perr := parseAs(m.file, ast.RegoV0); perr == nil {
				older[i].ast, older[i].version = v0, "v0"
			}
		}
	}
	c, err0 := compile(older)
	if err0 != nil {
		return nil, firstError(err)
	}
	copy(modules, older)
	return c, nil
}

func compile(modules []module) (*ast.Compiler, error) {
	c := ast.NewCompiler().WithCapabilities(capabilities())
	byName := make(map[string]*ast.Module, len(modules))
	for _, m := range modules {
		byName[m.file.Name] = m.ast.Copy()
	}
	if c.Compile(byName); c.Failed() {
		return nil, c.Errors
	}
	return c, nil
}
