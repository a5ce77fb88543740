package policy

import (
	"fmt"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"

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
		e.prepare = sync.OnceValues(func() (*question, error) { return prepareBuiltin(f) })
		entries, files = append(entries, e), append(files, f)
	}
	return entries, files, nil
}

func prepareBuiltin(f File) (*question, error) {
	m, err := ast.ParseModuleWithOpts(f.Name, string(f.Source), ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: builtinCapabilities()})
	if err != nil {
		return nil, err
	}
	c := ast.NewCompiler().WithCapabilities(builtinCapabilities()).WithSkipStages(checkedByTests...)
	if c.Compile(map[string]*ast.Module{f.Name: m}); c.Failed() {
		return nil, c.Errors
	}
	return newQuestion(c, m.Package.Path), nil
}

// checkedByTests are the compiler's checks that nothing at run time depends
// on. The built-in files never change after a build, whose tests compile them
// with every check, so a run does not pay for these again.
var checkedByTests = []ast.StageID{
	ast.StageCheckUnusedImports, ast.StageCheckKeywordOverrides, ast.StageCheckDuplicateImports,
	ast.StageCheckVoidCalls, ast.StageParseMetadataBlocks, ast.StageSetAnnotationSet,
	ast.StageCheckRuleConflicts, ast.StageCheckUndefinedFuncs, ast.StageCheckRecursion, ast.StageCheckTypes,
	ast.StageCheckUnsafeBuiltins, ast.StageCheckDeprecatedBuiltins, ast.StageBuildRequiredCapabilities,
}
