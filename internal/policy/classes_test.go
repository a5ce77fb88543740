package policy

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
)

func TestClassesOfPaths(t *testing.T) {
	known, err := classes()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/workspace/main.go": "", "/workspace/.git/config": "git-directory", "/workspace/.GIT./x": "git-directory windows-name",
		"/workspace/git~1/x": "git-directory windows-name", "/workspace/.docker/config.json": "credential-store",
		"/workspace/docker/config.json": "", "/workspace/.vault-token": "credential-store",
		"/workspace/.github/workflows/ci.yml": "ci", "/workspace/.github/README.md": "", "/workspace/docs/CODEOWNERS": "owners",
		"/workspace/sub/CLAUDE.md": "agent-settings", "/workspace/x.code-workspace": "editor", "/workspace/.code-workspace": "editor",
		"/workspace/gradle/gradle-wrapper.jar": "install-time", "/workspace/lib/x.pth": "install-time",
		"/workspace/go.sum": "dependencies", "/workspace/a/Cargo.lock": "dependencies", "/workspace/x.csproj": "dependencies",
		"/workspace/Dockerfile": "container", "/workspace/Dockerfile.dev": "container", "/workspace/dockerfile.d/x": "", "/workspace/web.dockerfile": "container",
		"/workspace/infra/main.tf": "infrastructure", "/workspace/x.tf.json": "infrastructure", "/workspace/x.json": "", "/workspace/tf": "",
		"/workspace/id_rsa": "secret-file", "/workspace/.carrel/config.yaml": "own-settings",
		"/workspace/net/aux.go": "windows-device", "/workspace/COM7.txt": "windows-device", "/workspace/com0": "", "/workspace/comx.txt": "",
		"/workspace/a:b": "", "/workspace/a::$DATA": "windows-name", "/workspace/foo.~1~": "", "/workspace/a b": "", "/workspace/a /b": "windows-name",
		"/workspace/a\\b": "windows-name", "/": "",
	} {
		if got := strings.Join(known.of(path, foldPath(path)), " "); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestClassesOfCommands(t *testing.T) {
	known, err := classes()
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"git push": "publishes", "git -C x push origin main": "publishes", "/usr/bin/git push": "publishes", "GIT.EXE push": "publishes",
		`C:\git\git.exe push`: "publishes", "git status": "", "git commit -m push": "publishes", "npm publish": "publishes", "npm test": "",
		"terraform -chdir=x apply": "deploys", "terraform plan": "", "kubectl -n x delete pod y": "deploys", "kubectl get pods": "",
		"sudo ls": "raises-privileges", "carrel approve": "operates-carrel", "carrel review": "", "go test ./...": "", "yarn npm publish": "publishes",
	} {
		var argv []carrel.Text
		for w := range strings.FieldsSeq(line) {
			argv = append(argv, carrel.Text(w))
		}
		a := carrel.Action{Operation: carrel.OpExec, Argv: argv}
		if got := strings.Join(known.ofCommand(programNames(a), argv), " "); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	named := carrel.Action{Operation: carrel.OpExec, Path: "/usr/bin/git", Argv: []carrel.Text{"harmless", "push"}}
	if got := programName(named); got != "git" {
		t.Errorf("the program is what runs, not what it is called: %q", got)
	}
}

// What is started through a link goes by both names: a rule about npm or cargo
// would else never hold where they are links, as they usually are.
func TestLinkedProgramsGoByBothNames(t *testing.T) {
	e := engine(t, user(`package cowork.access

import rego.v1

governs := {"exec"}

allow if count(input.argv) > 0

deny contains {"rule": "no-npm"} if "npm" in input.programs
`))
	for _, c := range []struct {
		path, argv0, argv1 string
		verdict            carrel.Verdict
		rule               string
	}{
		{"/usr/lib/node_modules/npm/bin/npm-cli.js", "npm", "test", carrel.Deny, "user/no-npm"},
		{"/usr/bin/npm", "harmless", "test", carrel.Deny, "user/no-npm"},
		{"/home/x/.cargo/bin/rustup", "cargo", "publish", carrel.Ask, "builtin/publishes"},
		{"/usr/bin/git", "ls", "push", carrel.Ask, "builtin/publishes"},
		{"/home/x/.cargo/bin/rustup", "cargo", "test", carrel.Allow, ""},
	} {
		a := carrel.Action{Operation: carrel.OpExec, Path: c.path, Argv: []carrel.Text{carrel.Text(c.argv0), carrel.Text(c.argv1)}, Cwd: "/workspace"}
		wantVerdict(t, e, a, c.verdict, c.rule)
	}
}

// TestEveryClassIsAnsweredAndDocumented: a class that no rule reads and no
// page names would be a rule that people believe in.
func TestEveryClassIsAnsweredAndDocumented(t *testing.T) {
	known, err := classes()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{classWindowsName: true, classWindowsDevice: true}
	for _, table := range []map[string]string{known.parts, known.prefixes, known.suffixes} {
		for name, class := range table {
			seen[class] = true
			if name != strings.ToLower(name) || name == "" {
				t.Errorf("%s: %q is not folded", class, name)
			}
		}
	}
	for _, commands := range known.commands {
		for _, c := range commands {
			seen[c.class] = true
		}
	}
	rego := readBundle(t)
	for class := range seen {
		if !strings.Contains(rego, `"`+class+`"`) {
			t.Errorf("no built-in rule reads the class %s", class)
		}
	}
	if len(seen) < 15 || slices.Contains(slices.Collect(keysOf(seen)), "") {
		t.Errorf("classes: %v", seen)
	}
}

// TestEveryRuleHasASectionInTheDocs: a rule that a decision names is found
// where Page says, and no section is about a rule that is not.
func TestEveryRuleHasASectionInTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := builtinRules()
	if err != nil || len(rules) < 30 {
		t.Fatalf("%d rules: %v", len(rules), err)
	}
	var sections []string
	for _, section := range regexp.MustCompile(`(?m)^### (.*)$`).FindAllStringSubmatchIndex(string(page), -1) {
		name := string(page[section[2]:section[3]])
		sections = append(sections, name)
		text, _, _ := strings.Cut(string(page[section[1]:]), "\n#")
		for _, part := range []string{"*deny: `", "*ask: `"} {
			text = strings.Replace(text, part, "*answer", 1)
		}
		for _, part := range []string{"*answer", "- **Why:** ", "- **Narrowest way:** ", "- **Who looks:** "} {
			if !strings.Contains(text, part) {
				t.Errorf("the section %s says nothing of %q", name, part)
			}
		}
	}
	slices.Sort(sections)
	if !slices.Equal(sections, rules) {
		t.Errorf("sections %q\nrules    %q", sections, rules)
	}
	for _, rule := range append(rules, "allow", "not-allowed", "error") {
		if (Page("builtin/"+rule) == "docs/rules.md#"+rule) != slices.Contains(rules, rule) || Page("user/"+rule) != "" || Page(rule) != "" {
			t.Errorf("the page of %s is %q", rule, Page("builtin/"+rule))
		}
	}
}

// TestEveryNameInTheBundleIsFound holds builtinRules to the text of the rules.
func TestEveryNameInTheBundleIsFound(t *testing.T) {
	rules, err := builtinRules()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"rule": "([a-z-]+)"`).FindAllStringSubmatch(readBundle(t), -1) {
		if !slices.Contains(rules, m[1]) {
			t.Errorf("%s is not found", m[1])
		}
	}
}
