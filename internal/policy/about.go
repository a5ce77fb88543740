package policy

import (
	"fmt"
	"slices"

	"github.com/carrel-dev/carrel"
)

// AskAbout asks the files of l about a document that is no action, such as
// what an attestation says. All files must be of one package, or l must name
// its entry point; there is no floor and no other layer. Like a decision, the
// answer is allow only if `allow` is true and nothing is denied; what fails is
// an answer that denies. An error says that there is no policy to ask.
func AskAbout(l Layer, document any) (Answer, error) {
	modules, err := parseLayer(l)
	if err != nil {
		return Answer{}, fmt.Errorf("policy %s: %w", l.Name, err)
	}
	compiler, err := compileModules(modules)
	if err != nil {
		return Answer{}, fmt.Errorf("policy %s: %w", l.Name, err)
	}
	p := &program{modules: modules, compiler: compiler}
	if p.data, err = newBase(l.Data, compiler); err != nil {
		return Answer{}, fmt.Errorf("policy %s: %w", l.Name, err)
	}
	pkg, err := onlyPackage(l, modules)
	if err != nil {
		return Answer{}, fmt.Errorf("policy %s: %w", l.Name, err)
	}
	q, err := p.question(voice{Layer: l.Name, Kind: l.Kind, Package: pkg})
	if err != nil {
		return Answer{}, fmt.Errorf("policy %s: %w", l.Name, err)
	}
	encoded, err := carrel.Canonical(document)
	if err != nil {
		return Answer{}, fmt.Errorf("policy %s: input: %w", l.Name, err)
	}
	input, err := parseCanonical(encoded)
	if err != nil {
		return Answer{}, fmt.Errorf("policy %s: input: %w", l.Name, err)
	}
	answer, _ := q.answer(input) // one that failed denies, and says why
	return answer, nil
}

// onlyPackage is the package that is asked.
func onlyPackage(l Layer, modules []module) (string, error) {
	if l.Entry != "" {
		return l.Entry, nil
	}
	var pkgs []string
	for _, m := range modules {
		if !slices.Contains(pkgs, m.pkg()) {
			pkgs = append(pkgs, m.pkg())
		}
	}
	if len(pkgs) != 1 {
		return "", fmt.Errorf("its files are of %d packages (%v), and which to ask is not said", len(pkgs), pkgs)
	}
	return pkgs[0], nil
}
