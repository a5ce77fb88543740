package risk

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every label that the code can put on a file is explained in docs/risks.md.
func TestLabelsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/risks.md")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, r := range pathRules {
		used[r.label] = true
	}
	inCode := regexp.MustCompile(`(?:\.add\(|\.label\(|withheld\{|Label\{Name: )"([a-z-]+)"`)
	for _, pattern := range []string{"*.go", "../*.go"} {
		files, _ := filepath.Glob(pattern)
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range inCode.FindAllStringSubmatch(string(src), -1) {
				used[m[1]] = true
			}
		}
	}
	if len(used) < 35 {
		t.Errorf("only %d labels found", len(used))
	}
	for name := range used {
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("docs/risks.md does not explain %s", name)
		}
	}
}
