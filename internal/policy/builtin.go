package policy

import (
	"fmt"
	"io/fs"
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
	{"network", []carrel.Operation{carrel.OpResolve, carrel.OpConnect, carrel.OpRequest, carrel.OpExpose}, true},
	{"lease", []carrel.Operation{carrel.OpCredential, carrel.OpTool}, true},
	{"publish", []carrel.Operation{carrel.OpPublish}, false},
	{"operator", carrel.OperatorOperations, false},
}

// builtinEntries returns the voices of the default bundle, not yet compiled,
// and its sources for the digest.
func builtinEntries() ([]*entry, []File, error) {
	var entries []*entry
	var files []File
	names, err := policies.Bundle.ReadFile(classFile)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the built-in policy: %w", err)
	}
	known := SourceFile{classFile, carrel.DigestBytes(names), "names"}
	for _, b := range builtinFiles {
		source, err := policies.Bundle.ReadFile(b.name + ".rego")
		if err != nil {
			return nil, nil, fmt.Errorf("reading the built-in policy: %w", err)
		}
		f := File{Name: b.name + ".rego", Source: source}
		v := voice{
			Layer: "builtin", Kind: builtin, Package: "data.carrel.builtin." + b.name, Where: f.Name, Governs: b.governs,
			Files: []SourceFile{{f.Name, carrel.DigestBytes(f.Source), "v1"}, known},
		}
		if b.ceilings {
			v.Ceiling = b.governs
		}
		entries, files = append(entries, lateEntry(v, f)), append(files, f)
	}
	return entries, files, nil
}

// builtinTexts are the sources of the default bundle and the names they know.
func builtinTexts() ([][]byte, error) {
	names, err := fs.Glob(policies.Bundle, "*")
	if err != nil {
		return nil, err
	}
	var texts [][]byte
	for _, name := range names {
		text, err := policies.Bundle.ReadFile(name)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, nil
}

// lateEntry is compiled when it is first asked, or before by Warm.
func lateEntry(v voice, f File) *entry {
	prepare := sync.OnceValues(func() (*question, error) { return prepareBuiltin(f) })
	return &entry{
		voice: v,
		ask: func(in input) (Answer, bool) {
			q, err := prepare()
			if err != nil {
				return fault("not-prepared", err.Error()), false
			}
			return q.answer(in.value)
		},
		prepare: func() { _, _ = prepare() }, // an error is found again, and denies, when the entry is asked
	}
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
	return newQuestion(c, m.Package.Path, base{}), nil
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
