package engine

import (
	"strings"
	"testing"
)

func TestCodeowners(t *testing.T) {
	rules := parseCodeowners([]byte(`# who looks
*                 @everybody
*.go              @go/team dev@example.com   # both
/build/           @build
docs/*            @writers
**/migrations/**  @db
apps/             @apps
/apps/free
Makefile          <script> @ok
[section]
`))
	for path, want := range map[string]string{
		"README": "@everybody", "a/b.go": "@go/team dev@example.com", "build/x/y": "@build", "sub/build/x": "@everybody",
		"docs/a.md": "@writers", "docs/deep/a.md": "@everybody", "x/docs/a.md": "@everybody", "db/migrations/1.sql": "@db",
		"x/apps/a": "@apps", "apps/free": "", "apps/free/x": "", "sub/Makefile": "@ok", "build": "@everybody",
	} {
		if got := strings.Join(rules.owners(path), " "); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if got := parseCodeowners(nil).owners("a"); got != nil {
		t.Error(got)
	}
}
