package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// compileBounded gives a layer up that takes too long. What it started goes on
// until it is done; the caller's process ends for want of a policy.
func compileBounded(ctx context.Context, l Layer) ([]*entry, error) {
	type result struct {
		entries []*entry
		err     error
	}
	done := make(chan result, 1)
	go func() {
		entries, err := compileLayer(l)
		done <- result{entries, err}
	}()
	ctx, cancel := context.WithTimeout(ctx, maxCompile)
	defer cancel()
	select {
	case r := <-done:
		return r.entries, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("not compiled within %v: %w", maxCompile, ctx.Err())
	}
}

// compileLayer parses and compiles the sources of l and returns its voices.
func compileLayer(l Layer) ([]*entry, error) {
	if l.Func != nil {
		return funcEntry(l)
	}
	modules, err := parseLayer(l)
	if err != nil {
		return nil, err
	}
	compiler, err := compileModules(modules)
	if err != nil {
		return nil, err
	}
	pkgs, err := entryPoints(l, modules)
	if err != nil {
		return nil, err
	}
	var out []*entry
	for _, pkg := range pkgs {
		e, err := newEntry(l, pkg, modules, compiler)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func funcEntry(l Layer) ([]*entry, error) {
	if len(l.Files) > 0 || len(l.Governs) == 0 {
		return nil, errors.New("a layer in Go has no files and says what it governs")
	}
	if _, err := carrel.ParseDigest(string(l.Digest)); err != nil {
		return nil, errors.New("a layer in Go says the digest of what it decides by")
	}
	return []*entry{{layer: l.Name, kind: l.Kind, fn: l.Func, governs: l.Governs}}, nil
}

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

// entryPoints returns the packages of a layer that are asked.
func entryPoints(l Layer, modules []module) ([]string, error) {
	if l.Entry != "" {
		if !slices.ContainsFunc(modules, func(m module) bool { return m.pkg() == l.Entry }) {
			return nil, fmt.Errorf("no file has the package of the entry point %s", l.Entry)
		}
		return []string{l.Entry}, nil
	}
	var pkgs []string
	for _, m := range modules {
		_, declares, err := m.constant("governs")
		if err != nil {
			return nil, err
		}
		if (declares || m.pkg() == DefaultEntry) && !slices.Contains(pkgs, m.pkg()) {
			pkgs = append(pkgs, m.pkg())
		}
	}
	if len(pkgs) == 0 {
		return nil, fmt.Errorf("%s: nothing to ask: use `package cowork.access`, or say `governs := {\"write\", …}` in %s",
			modules[0].file.Name, modules[0].ast.Package)
	}
	return pkgs, nil
}
