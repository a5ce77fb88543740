package archtest

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var root = filepath.Join("..", "..")

// pages returns the documents of the module by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "spec/*.md", "changelog/*.md", "changelog/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			out[path] = string(text)
		}
	}
	if len(out) < 8 {
		t.Fatalf("found %d documents; the search is broken", len(out))
	}
	return out
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)[^)\s]*\)`)

func TestLinksInDocsLeadSomewhere(t *testing.T) {
	for path, text := range pages(t) {
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			target := found[1]
			if strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), target)); err != nil {
				t.Errorf("%s links to %s, which does not exist", path, target)
			}
		}
	}
}

func TestArchitectureNamesEveryPackage(t *testing.T) {
	page := pages(t)[filepath.Join(root, "docs", "architecture.md")]
	named := map[string]bool{}
	for _, f := range sources(t) {
		if f.dir == "." || named[f.dir] {
			continue
		}
		named[f.dir] = true
		if !strings.Contains(page, "`"+f.dir+"`") {
			t.Errorf("docs/architecture.md does not name %s: a package is a line there", f.dir)
		}
	}
}

func TestArchitectureGivesAReasonForEveryDependency(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	direct := regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(string(text), -1)
	if len(direct) < 10 {
		t.Fatalf("read %d requirements from go.mod; the search is broken", len(direct))
	}
	page := pages(t)[filepath.Join(root, "docs", "architecture.md")]
	for _, module := range direct {
		if !strings.Contains(page, "`"+module[1]+"`") {
			t.Errorf("docs/architecture.md gives no reason for %s", module[1])
		}
	}
}

// strays are words for which the glossary of docs/architecture.md has another:
// a record, a decision. The permissions of a file keep their name.
var strays = regexp.MustCompile(`^event|Event|^permission$|Permission`)

// foreign are names that others gave: of the kernel, of model endpoints, and of
// agents' clients.
var foreign = []string{"internal/demo/model", "internal/hook", "e2e"}

// implemented are methods of other people's interfaces: OPA's tracers.
var implemented = []string{"TraceEvent"}

func TestNamesFollowTheGlossary(t *testing.T) {
	for _, f := range sources(t) {
		if f.test || withinAny(f.dir, foreign...) {
			continue
		}
		check := func(id *ast.Ident) {
			if strays.MatchString(id.Name) && !slices.Contains(implemented, id.Name) {
				t.Errorf("%s declares %s: the words are record and decision", f.path, id.Name)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				check(n.Name)
			case *ast.TypeSpec:
				check(n.Name)
			case *ast.ValueSpec:
				each(n.Names, check)
			case *ast.Field:
				each(n.Names, check)
				if n.Tag != nil && strays.MatchString(n.Tag.Value) {
					t.Errorf("%s writes %s: the words are record and decision", f.path, n.Tag.Value)
				}
			}
			return true
		})
	}
}

func each(ids []*ast.Ident, check func(*ast.Ident)) {
	for id := range slices.Values(ids) {
		check(id)
	}
}

// told are words about one machine or about how work is organised: no reader
// of a release can use them.
var told = regexp.MustCompile(`(?i)/work/|/root/|\bTODO\b|\bFIXME\b|\bregistry\.npmjs\.org/|proxy\.golang\.org`)

func TestDocsSayNothingOfOneMachine(t *testing.T) {
	for path, text := range pages(t) {
		if found := told.FindString(text); found != "" {
			t.Errorf("%s says %q", path, found)
		}
	}
}
