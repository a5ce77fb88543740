package policy

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
)

// holesAndTwins are rules with a hole, what Check says of each, and the same
// rules without it, of which it must say nothing of the kind.
var holesAndTwins = []struct{ name, check, example, source, twin string }{
	{"a function's parameter", "prefix-without-end", `"/workspace/srcx/evil"`,
		onFiles + "allow if ours(input.path)\n\nours(p) if startswith(p, \"/workspace/src\")\n",
		onFiles + "allow if ours(input.path)\n\nours(p) if startswith(p, \"/workspace/src/\")\n"},
	{"a parameter through two functions", "prefix-without-end", `"/workspace/srcx/evil"`,
		onFiles + "allow if a(input.path)\n\na(p) if b(p)\n\nb(q) if startswith(q, \"/workspace/src\")\n",
		onFiles + "allow if a(input.path)\n\na(p) if b(p)\n\nb(q) if startswith(q, \"/workspace/src/\")\n"},
	{"a parameter that is no path", "unreachable", "",
		onFiles + inWorkspace + "deny if secret(input.path)\n\nsecret(p) if startswith(p, \"secrets/\")\n",
		onFiles + inWorkspace + "deny if secret(trim_prefix(input.path, \"/workspace/\"))\n\nsecret(p) if startswith(p, \"secrets/\")\n"},
	{"a host in a function", "prefix-without-end", `"evilexample.com"`,
		onConnect + "allow if ours(lower(input.host))\n\nours(h) if endswith(h, \"example.com\")\n",
		onConnect + "allow if ours(lower(input.host))\n\nours(h) if endswith(h, \".example.com\")\n\nours(\"example.com\")\n"},
	{"a variable for a path", "prefix-without-end", `"/workspace/srcx/evil"`,
		onFiles + "allow if {\n\tp := input.path\n\tstartswith(p, \"/workspace/src\")\n}\n",
		onFiles + "allow if {\n\tp := input.path\n\tstartswith(p, \"/workspace/src/\")\n}\n"},
	{"a denial of all but a prefix", "prefix-without-end", `"/workspace/srcx/evil"`,
		onFiles + inWorkspace + "deny if not startswith(input.path, \"/workspace/src\")\n",
		onFiles + inWorkspace + "deny if startswith(input.path, \"/workspace/src\")\n"},
	{"an expression without ends", "pattern-without-end", `"api.example.com.evil.test"`,
		onConnect + "allow if regex.match(\"api.example.com\", input.host)\n",
		onConnect + "allow if regex.match(`^api\\.example\\.com$`, input.host)\n"},
	{"an expression without its beginning", "pattern-without-end", `"evilapi.example.com"`,
		onConnect + "allow if regex.match(`api\\.example\\.com$`, input.host)\n",
		onConnect + "allow if regex.match(`^([a-z0-9-]+\\.)*example\\.com$`, input.host)\n"},
	{"a dot for anything", "pattern-without-end", `"apixexample.com"`,
		onConnect + "allow if regex.match(`^api.example\\.com$`, input.host)\n",
		onConnect + "allow if regex.match(`^.*\\.example\\.com$`, input.host)\n"},
	{"anchors in one branch each", "pattern-without-end", `"api.example.com.evil.test"`,
		onConnect + "allow if regex.match(`^api\\.example\\.com|www\\.example\\.com$`, input.host)\n",
		onConnect + "allow if regex.match(`^(api\\.example\\.com|www\\.example\\.com)$`, input.host)\n"},
	{"a path's expression without its beginning", "pattern-without-end", `"/workspace/evil/workspace/src/x"`,
		onFiles + "allow if regex.match(`/workspace/src/`, input.path)\n",
		onFiles + "allow if regex.match(`^/workspace/src/`, input.path)\n\nallow if regex.match(`\\.go$`, input.path)\n"},
	{"deleting what may not be written", "other-operation", `"operation":"delete","path":"/workspace/prod`,
		onFiles + inWorkspace + "deny if {\n\tinput.operation == \"write\"\n\tstartswith(input.path, \"/workspace/prod/\")\n}\n",
		onFiles + inWorkspace + "deny if {\n\tinput.operation in {\"write\", \"delete\"}\n\tstartswith(input.path, \"/workspace/prod/\")\n}\n"},
	{"deleting where nobody may", "other-operation", `"operation":"delete"`,
		onFiles + inWorkspace + "deny if {\n\tinput.operation == \"write\"\n\t\"prod\" in input.parts\n\t\".github\" in input.parts\n}\n\nask if {\n\tinput.operation == \"write\"\n\t\"ci\" in input.classes\n}\n",
		onFiles + "allow if {\n\tinput.operation == \"write\"\n\tstartswith(input.path, \"/workspace/\")\n}\n\ndeny if {\n\tinput.operation == \"write\"\n\tstartswith(input.path, \"/workspace/prod/\")\n}\n"},
	{"the directory in another case", "directory-case", `"/workspace/PROD/`,
		onFiles + inWorkspace + "deny if startswith(input.path, \"/workspace/prod/\")\n",
		onFiles + inWorkspace + "deny if startswith(lower(input.path), \"/workspace/prod/\")\n"},
	{"a word at its place", "program-by-word", `"/usr/bin/rm"`,
		onExec + "allow if count(input.argv) > 0\n\ndeny if {\n\tinput.argv[0] == \"rm\"\n\t\"-rf\" in input.argv\n}\n",
		onExec + "allow if count(input.argv) > 0\n\ndeny if \"rm\" in input.programs\n"},
	{"options apart", "flags-by-word", `"-r","-f"`,
		onExec + "allow if count(input.argv) > 0\n\ndeny if {\n\t\"rm\" in input.programs\n\t\"-rf\" in input.argv\n}\n",
		onExec + "allow if count(input.argv) > 0\n\ndeny if {\n\t\"rm\" in input.programs\n\tsome a in input.argv\n\tregex.match(`^-[a-z]*r`, a)\n}\n"},
	{"a sequence at its place", "argument-by-position", `"git","-C",".","push"`,
		onExec + "allow if count(input.argv) > 0\n\ndeny if {\n\t\"git\" in input.programs\n\tinput.argv[1] == \"push\"\n}\n",
		onExec + "allow if count(input.argv) > 0\n\ndeny if {\n\t\"git\" in input.programs\n\t\"push\" in input.argv\n}\n"},
	{"a sequence cut out", "argument-by-position", `"git","-C",".","push"`,
		onExec + "allow if count(input.argv) > 0\n\ndeny if array.slice(input.argv, 0, 2) == [\"git\", \"push\"]\n",
		onExec + "allow if count(input.argv) > 0\n\ndeny if \"publishes\" in input.classes\n"},
	{"a table of programs", "program-by-word", `"/usr/bin/curl"`,
		onExec + "allow if count(input.argv) > 0\n\nbanned := {\"curl\", \"wget\"}\n\ndeny if input.argv[0] in banned\n",
		onExec + "allow if count(input.argv) > 0\n\nbanned := {\"curl\", \"wget\"}\n\ndeny if {\n\tsome name in input.programs\n\tname in banned\n}\n"},
	{"a line's beginning", "argument-by-position", `"git","-C",".","push"`,
		onExec + "allow if count(input.argv) > 0\n\ndeny if startswith(concat(\" \", input.argv), \"git push\")\n",
		onExec + "allow if count(input.argv) > 0\n\ndeny if regex.match(`(^|[ /])git ([^ ]+ )*push`, concat(\" \", input.argv))\n"},
	{"words in a line", "flags-by-word", `"-r","-f"`,
		onExec + "allow if count(input.argv) > 0\n\ndeny if {\n\tline := concat(\" \", input.argv)\n\tcontains(line, \"rm -rf\")\n}\n",
		onExec + "allow if count(input.argv) > 0\n\ndeny if \"raises-privileges\" in input.classes\n"},
	{"allowed words in a line", "line-anywhere", `"evil; go test"`,
		onExec + "allow if contains(concat(\" \", input.argv), \"go test\")\n",
		onExec + "allow if input.path == \"/usr/bin/go\"\n"},
	{"a program by what it is called", "allowed-by-word", `"path":"/workspace/evil/run"`,
		onExec + "allow if input.argv[0] == \"go\"\n",
		onExec + "allow if {\n\tinput.path == \"/usr/bin/go\"\n\tinput.argv[0] == \"go\"\n}\n"},
	{"a URL with its host", "unreachable", "",
		onRequest + "allow if startswith(input.url, \"https://api.github.com\")\n",
		onRequest + "allow if {\n\tinput.host == \"api.github.com\"\n\tstartswith(input.path, \"/repos/\")\n}\n"},
	{"a path of a request", "prefix-without-end", `"url":"/repos/acmex/evil"`,
		onRequest + "allow if {\n\tinput.host == \"api.github.com\"\n\tstartswith(input.path, \"/repos/acme\")\n}\n",
		onRequest + "allow if {\n\tinput.host == \"api.github.com\"\n\tstartswith(input.path, \"/repos/acme/\")\n}\n"},
	{"words in a query", "prefix-without-end", `"url":"/evil?x=/repos/acme/"`,
		onRequest + "allow if {\n\tinput.method == \"GET\"\n\tcontains(input.url, \"/repos/acme/\")\n}\n",
		onRequest + "allow if {\n\tinput.method == \"GET\"\n\tinput.path == \"/repos/acme/x\"\n}\n"},
	{"a denial without its query", "query-let-by", `"url":"/admin?x=1"`,
		onRequest + "allow if input.host == \"example.com\"\n\ndeny if input.url == \"/admin\"\n",
		onRequest + "allow if input.host == \"example.com\"\n\ndeny if input.path == \"/admin\"\n"},
	{"a request's host", "prefix-without-end", `"host":"evilexample.com"`,
		onRequest + "allow if {\n\tendswith(input.host, \"example.com\")\n\tinput.method == \"PATCH\"\n\tstartswith(input.path, \"/v1/\")\n}\n",
		onRequest + "allow if {\n\tendswith(input.host, \".example.com\")\n\tinput.method == \"PATCH\"\n\tstartswith(input.path, \"/v1/\")\n}\n"},
}

const (
	onFiles     = head + "default allow := false\n\n"
	inWorkspace = "allow if startswith(input.path, \"/workspace/\")\n\n"
	onExec      = head + "governs := {\"exec\"}\n\n"
	onConnect   = head + "governs := {\"connect\"}\n\n"
	onRequest   = head + "governs := {\"request\"}\n\n"
)

// TestCheckNamesHolesAndNotTheirTwins: what is reported was answered by the
// policy so, and the rule written well is not reported.
func TestCheckNamesHolesAndNotTheirTwins(t *testing.T) {
	for _, c := range holesAndTwins {
		t.Run(c.name, func(t *testing.T) {
			found := false
			for _, f := range check(t, c.source).Findings {
				found = found || f.Check == c.check && strings.Contains(string(f.Example), c.example)
				if f.Example == nil {
					continue
				}
				d := asIfOnly(t, c.source, f.Example)
				if f.Layer != carrel.Allow || d != carrel.Allow {
					t.Errorf("%s: the example %s is answered %s", f.Check, f.Example, d)
				}
			}
			if !found {
				t.Errorf("no %s with %s: %+v", c.check, c.example, check(t, c.source).Findings)
			}
			for _, f := range check(t, c.twin).Findings {
				if f.Check == c.check {
					t.Errorf("the twin: %s %s: %s", f.Check, f.Message, f.Example)
				}
			}
		})
	}
}

// asIfOnly is what the policy alone answers about an input as JSON.
func asIfOnly(t *testing.T, source string, example []byte) carrel.Verdict {
	t.Helper()
	doc, err := ParseDocument(example)
	if err != nil {
		t.Fatalf("%s: %v", example, err)
	}
	p, err := compileLayer(user(source))
	if err != nil {
		t.Fatal(err)
	}
	return (&checker{program: p}).own(doc.Action).Verdict
}

var regoBlock = regexp.MustCompile("(?ms)^```rego\n(package cowork.*?)^```$")

// TestCheckIsQuietAboutWhatIsShipped: the default policy, what `policy init`
// writes, and every whole policy in the documentation.
func TestCheckIsQuietAboutWhatIsShipped(t *testing.T) {
	sources := map[string]Layer{}
	shipped, err := filepath.Glob("../../policies/*.rego")
	if err != nil || len(shipped) == 0 {
		t.Fatal(err)
	}
	for _, name := range append(shipped, "../../policies/start/access.rego") {
		if !strings.HasSuffix(name, "_test.rego") {
			sources[name] = Layer{Name: "user", Kind: Organisation, Files: []File{{Name: name, Source: read(t, name)}}}
		}
	}
	for _, pattern := range []string{"../../docs/*.md", "../../spec/*.md", "../../README.md"} {
		pages, _ := filepath.Glob(pattern)
		for _, page := range pages {
			for _, block := range regoBlock.FindAllSubmatch(read(t, page), -1) {
				sources[page] = user(string(block[1]))
			}
		}
	}
	if _, ok := sources["../../spec/policy-input.md"]; !ok {
		t.Error("no policy is found in the documentation")
	}
	for name, l := range sources {
		r, err := Check(context.Background(), l, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, f := range r.Findings {
			if f.Severity == Fault || f.Severity == Hole && !f.Caught() {
				t.Errorf("%s: %+v %s", name, f, f.Example)
			}
		}
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
