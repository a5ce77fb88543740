package policy

import (
	"fmt"
	"sync"

	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/policies"
)

// builtinFile says what one file of the default bundle governs, so that a
// file is compiled only when its operations are first asked: a run that
// touches no network does not pay for the network's rules. A test holds this
// table to what the files declare.
type builtinFile struct {
	name     string
	governs  []carrel.Operation
	ceilings bool // its allow is no grant: another layer must allow too
}

var builtinFiles = []builtinFile{
	{"files", []carrel.Operation{carrel.OpWrite, carrel.OpDelete}, false},
	{"read", []carrel.Operation{carrel.OpRead}, false},
	{"exec", []carrel.Operation{carrel.OpExec}, false},
	{"network", []carrel.Operation{carrel.OpResolve, carrel.OpConnect, carrel.OpRequest}, true},
	{"lease", []carrel.Operation{carrel.OpCredential, carrel.OpTool}, true},
	{"publish", []carrel.Operation{carrel.OpPublish}, false},
	{"operator", carrel.OperatorOperations, false},
}

// builtinEntries returns the voices of the default bundle, not yet compiled,
// and its sources for the digest.
func builtinEntries() ([]*entry, []File, error) {
	var entries []*entry
	var files []File
	for _, b := range builtinFiles {
		source, err := policies.Bundle.ReadFile(b.name + ".rego")
		if err != nil {
			return nil, nil, fmt.Errorf("reading the built-in policy: %w", err)
		}
		f := File{Name: b.name + ".rego", Source: source}
		e := &entry{layer: "builtin", kind: builtin, pkg: "data.carrel.builtin." + b.name, where: f.Name, governs: b.governs}
		if b.ceilings {
			e.ceiling = b.governs
		}
		e.prepare = sync.OnceValues(func() (rego.PreparedEvalQuery, error) { return prepareBuiltin(f, e.pkg) })
		entries, files = append(entries, e), append(files, f)
	}
	return entries, files, nil
}

func prepareBuiltin(f File, pkg string) (rego.PreparedEvalQuery, error) {
	parsed, err := parseModule(f)
	if err != nil {
		return rego.PreparedEvalQuery{}, err
	}
	c, err := compile([]module{parsed})
	if err != nil {
		return rego.PreparedEvalQuery{}, err
	}
	return prepareQuery(c, pkg)
}
