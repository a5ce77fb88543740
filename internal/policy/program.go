package policy

import (
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// voice is what is known of one voice of the policy without asking it.
type voice struct {
	Layer   string             `json:"layer"`
	Kind    Kind               `json:"kind"`
	Package string             `json:"package"` // "data.cowork.access"; empty for a function
	Where   string             `json:"where"`   // file of the declaration, for messages
	Governs []carrel.Operation `json:"governs"`
	Ceiling []carrel.Operation `json:"ceiling"` // governed, and its allow is no grant
	Files   []SourceFile       `json:"files"`   // of the whole layer
	Named   []use              `json:"named"`   // operations that its rules speak of
	Time    bool               `json:"time"`    // the layer looks at input.time
}

// program is the compiled Rego of one layer: a namespace of its own, with
// neither rules nor data of any other layer.
type program struct {
	modules   []module
	compiler  *ast.Compiler
	data      base
	voices    []voice
	questions []*question // of the voices, in their order
}

// newProgram parses and compiles the sources of l, which nobody is asked in yet.
func newProgram(l Layer) (*program, error) {
	modules, err := parseLayer(l)
	if err != nil {
		return nil, err
	}
	p := &program{modules: modules}
	if p.compiler, err = compileModules(modules); err != nil {
		return nil, err
	}
	if p.data, err = newBase(l.Data, p.compiler); err != nil {
		return nil, err
	}
	return p, nil
}

// compileLayer makes the program of l, with its voices.
func compileLayer(l Layer) (*program, error) {
	p, err := newProgram(l)
	if err != nil {
		return nil, err
	}
	pkgs, err := entryPoints(l, p.modules)
	if err != nil {
		return nil, err
	}
	if err := p.misspelt(pkgs); err != nil {
		return nil, err
	}
	time := readsTime(p.compiler)
	for _, pkg := range pkgs {
		v, err := newVoice(l, pkg, p.modules)
		if err != nil {
			return nil, err
		}
		v.Time = time
		q, err := p.question(v)
		if err != nil {
			return nil, err
		}
		p.voices, p.questions = append(p.voices, v), append(p.questions, q)
	}
	return p, nil
}

// newVoice reads what package pkg declares.
func newVoice(l Layer, pkg string, modules []module) (voice, error) {
	v := voice{Layer: l.Name, Kind: l.Kind, Package: pkg, Governs: fileOperations}
	said := false
	for _, m := range modules {
		v.Files = append(v.Files, SourceFile{m.file.Name, carrel.DigestBytes(m.file.Source), m.version})
		v.Named = append(v.Named, operationsNamed(m)...)
		if m.pkg() != pkg {
			continue
		}
		if v.Where == "" {
			v.Where = m.file.Name
		}
		if err := v.declare(m, &said); err != nil {
			return v, err
		}
	}
	if l.Kind == Repository { // it narrows; what it grants is asked of the user elsewhere
		v.Ceiling = v.Governs
	}
	return v, nil
}

// declare reads `governs` and `ceiling` of one file of the voice's package.
func (v *voice) declare(m module, said *bool) error {
	names, ok, err := m.constant("governs")
	if err != nil || !ok {
		return err
	}
	if *said {
		return fmt.Errorf("%s: `governs` of %s is already said in another file", m.file.Name, v.Package)
	}
	*said, v.Where = true, m.file.Name
	if v.Governs, err = operations(names); err != nil {
		return fmt.Errorf("%s: `governs`: %w", m.file.Name, err)
	}
	for _, op := range v.Governs {
		if v.Kind != Organisation && slices.Contains(carrel.OperatorOperations, op) {
			return fmt.Errorf("%s: only the organisation's policy may govern %q", m.file.Name, op)
		}
	}
	ceiling, _, err := m.constant("ceiling")
	if err != nil {
		return err
	}
	v.Ceiling, err = operations(ceiling)
	return err
}

// question makes the query of a voice. It refuses one that could never answer,
// or whose denials would never be seen.
func (p *program) question(v voice) (*question, error) {
	ref, err := ast.ParseRef(v.Package)
	if err != nil {
		return nil, fmt.Errorf("entry point %q: %w", v.Package, err)
	}
	answers := 0
	for _, name := range answerNames {
		rule := ref.Append(ast.StringTerm(name))
		for _, r := range p.compiler.GetRulesExact(rule) {
			if len(r.Head.Args) > 0 {
				return nil, fmt.Errorf("%s: `%s` is a function; it must be a rule", r.Location, name)
			}
		}
		answers += len(p.compiler.GetRulesWithPrefix(rule))
	}
	if answers == 0 {
		return nil, fmt.Errorf("no rule `allow`, `deny` or `ask` in %s", v.Package)
	}
	return newQuestion(p.compiler, ref, p.data), nil
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

var inputTime = ast.InputRootRef.Append(ast.StringTerm("time"))

// readsTime reports whether any rule looks at input.time, or at the input in a
// way that could show it.
func readsTime(c *ast.Compiler) bool {
	reads := false
	for _, m := range c.Modules {
		ast.WalkRefs(m, func(r ast.Ref) bool {
			if r[0].Equal(ast.InputRootDocument) {
				_, plain := r[min(1, len(r)-1)].Value.(ast.String)
				reads = reads || !plain || r.HasPrefix(inputTime)
			}
			return reads
		})
	}
	return reads
}
