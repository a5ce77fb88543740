package archtest

import (
	"slices"
	"strings"
	"testing"
)

// mayImport says which folders of this module each folder may import. A
// folder covers what is below it unless it has an entry of its own. A widened
// row is a decision: it shows as a line of this table.
var mayImport = map[string][]string{
	".":                            {},
	"verify":                       {"."},
	"policies":                     {},
	"spec":                         {},
	"internal/gate":                {"."},
	"internal/gate/gatetest":       {".", "internal/gate"},
	"internal/policy":              {".", "policies", "spec"},
	"internal/policy/evaluator":    {},
	"internal/approval":            {".", "internal/gate", "internal/private"},
	"internal/audit":               {".", "verify", "internal/private"},
	"internal/attest":              {".", "verify", "internal/gate", "internal/private", "internal/git/quote"},
	"internal/blob":                {"."},
	"internal/private":             {},
	"internal/place":               {"."},
	"internal/config":              {".", "internal/private"},
	"internal/profile":             {"."},
	"internal/git":                 {"."},
	"internal/git/quote":           {},
	"internal/hook":                {".", "internal/gate"},
	"internal/terminal":            {"."},
	"internal/workspace":           {".", "internal/gate", "internal/blob", "internal/git", "internal/private"},
	"internal/origin":              {".", "internal/git"},
	"internal/review":              {".", "internal/blob", "internal/terminal"},
	"internal/sandbox":             {".", "internal/gate"},
	"internal/sandbox/native/desk": {},
	"internal/sandbox/attack":      {},
	"internal/selftest":            {"internal/sandbox/attack"},
	"internal/sandbox/sandboxtest": {".", "internal/gate", "internal/gate/gatetest", "internal/sandbox", "internal/selftest", "internal/needs"},
	"internal/needs":               {},
	"internal/egress":              {".", "internal/gate"},
	"internal/credential":          {".", "internal/gate"},
	"internal/ingress":             {".", "internal/gate"},
	"internal/witness":             {".", "internal/gate", "verify"},
	"internal/witness/witnesstest": {},
	"internal/demo":                {"."},
	"cmd/carrel-init":              {"internal/sandbox/native/desk"},
	"cmd/carrel/ahead":             {"internal/place", "internal/sandbox/native"}, // what it imports delays it
}

// compose may import everything: the composition root, the commands that
// print what it returns, and what drives them from outside.
var compose = []string{"internal/engine", "cmd/carrel", "bench", "e2e", "internal/archtest"}

func rowFor(dir string) (string, bool) {
	for d := dir; ; {
		if _, ok := mayImport[d]; ok && (d != "." || dir == ".") {
			return d, true
		}
		i := strings.LastIndexByte(d, '/')
		if i < 0 {
			return "", false
		}
		d = d[:i]
	}
}

func TestImports(t *testing.T) {
	for _, f := range sources(t) {
		if slices.Contains(compose, f.dir) || withinAny(f.dir, compose...) && f.dir != "cmd/carrel-init" && f.dir != "cmd/carrel/ahead" {
			continue
		}
		row, ok := rowFor(f.dir)
		if !ok {
			t.Errorf("%s: folder %s is in no row of mayImport; a new package is a line there and in docs/architecture.md", f.path, f.dir)
			continue
		}
		for _, imported := range f.imports() {
			dir := local(imported)
			allowed := dir == "" || within(dir, row) && row != "." || slices.Contains(mayImport[row], dir) ||
				slices.ContainsFunc(mayImport[row], func(r string) bool { return r != "." && r != "internal/gate" && within(dir, r) }) ||
				f.test && slices.Contains([]string{"internal/gate/gatetest", "internal/sandbox/sandboxtest/kernel", "internal/needs"}, dir) || f.test && dir == f.dir
			if !allowed {
				t.Errorf("%s imports %s: packages of effects and of data know only what their row names; declare a one-method interface and let the engine connect it", f.path, imported)
			}
		}
	}
}

func TestVerifyNeverImportsInternal(t *testing.T) {
	for _, f := range sources(t) {
		if !within(f.dir, "verify") {
			continue
		}
		for _, imported := range f.imports() {
			if strings.Contains(imported, "/internal/") && local(imported) != "" {
				t.Errorf("%s imports %s: strangers must be able to build on verify alone", f.path, imported)
			}
		}
	}
}

func TestOPAIsImportedOnlyByPolicy(t *testing.T) {
	for _, f := range sources(t) {
		for _, imported := range f.imports() {
			if strings.HasPrefix(imported, "github.com/open-policy-agent/") && !withinAny(f.dir, "internal/policy", "policies", "bench") { // bench measures it as a peer
				t.Errorf("%s imports %s: one package decides, so that there is one way to decide", f.path, imported)
			}
		}
	}
}

// mayStartProcesses lists the folders that may start programs, with the reason.
var mayStartProcesses = map[string]string{
	"internal/sandbox":    "the desk itself",
	"internal/git":        "the one hardened way to run git",
	"internal/credential": "the user's own helper that prints a key",
	"internal/attest":     "the user's own signing command",
	"internal/hook":       "asks a registered hook, as its client would",
	"internal/terminal":   "the pager",

	"internal/needs":               "tests again, as an ordinary user",
	"internal/witness/witnesstest": "a witness of others, for tests",

	"internal/policy/evaluator": "carrel itself, as the bounded evaluator of policies",
	"internal/demo":             "runs carrel itself, as a user would",
	"bench":                     "measures programs",
	"e2e":                       "drives the binary",
}

func TestProcessesAreStartedInFewPlaces(t *testing.T) {
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		allowed := slices.ContainsFunc(slices.Collect(keys(mayStartProcesses)), func(dir string) bool { return within(f.dir, dir) })
		starts := func(importPath string, names ...string) {
			for _, name := range f.calls(importPath) {
				if slices.Contains(names, name) && !allowed {
					t.Errorf("%s uses %s.%s: every program on the host is started by a folder of mayStartProcesses", f.path, importPath, name)
				}
			}
		}
		starts("os/exec", "Command", "CommandContext", "Cmd")
		starts("os", "StartProcess")
		starts("syscall", "ForkExec", "StartProcess", "Exec")
	}
}

func TestEnvironmentAndExitBelongToCommands(t *testing.T) {
	banned := map[string][]string{
		"os":  {"Getenv", "LookupEnv", "Environ", "ExpandEnv", "Exit", "Setenv", "UserHomeDir", "UserConfigDir", "UserCacheDir"},
		"log": {"Fatal", "Fatalf", "Fatalln", "Panic", "Panicf"},
	}
	for _, f := range sources(t) {
		// The first process of a desk is a program of its own, and so is the
		// evaluator of policies: they end themselves.
		if f.test || withinAny(f.dir, "cmd", "bench", "e2e", "internal/sandbox/native/desk", "internal/sandbox/sandboxtest", "internal/needs", "internal/witness/witnesstest", "internal/policy/evaluator") {
			continue
		}
		for importPath, names := range banned {
			for _, name := range f.calls(importPath) {
				if slices.Contains(names, name) {
					t.Errorf("%s uses %s.%s: what a library reads from its surroundings its caller cannot see or test; pass it in", f.path, importPath, name)
				}
			}
		}
	}
}

// A test that ends itself for want of something would pass everywhere the
// thing is missing, and so would the wall that it tries.
func TestOnlyNeedsSkips(t *testing.T) {
	for _, f := range sources(t) {
		if f.dir == "internal/needs" {
			continue
		}
		for _, name := range f.methods() {
			if slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, name) {
				t.Errorf("%s uses %s: say with internal/needs what is missing, which fails where CI is set", f.path, name)
			}
		}
	}
}

func TestEveryPackageSaysWhatItOwns(t *testing.T) {
	comments := map[string]string{}
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		if f.ast.Doc != nil {
			comments[f.dir] += f.ast.Doc.Text()
		} else if _, ok := comments[f.dir]; !ok {
			comments[f.dir] = ""
		}
	}
	for dir, text := range comments {
		if text == "" {
			t.Errorf("%s has no package comment: say what it owns and what it is trusted with", dir)
		} else if dir != "." && !strings.Contains(text, "trust") {
			t.Errorf("the package comment of %s does not say what it is trusted with", dir)
		}
	}
}

func keys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
