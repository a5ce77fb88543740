package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
)

func check(t *testing.T, source string) Report {
	t.Helper()
	r, err := Check(context.Background(), user(source), nil)
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return r
}

func TestCheckNamesHolesWithExamples(t *testing.T) {
	allowAll := "package cowork.access\n\nimport rego.v1\n\ndefault allow := false\n\nallow if startswith(input.path, \"/workspace/\")\n\n"
	execs := "package cowork.access\n\nimport rego.v1\n\ngoverns := {\"exec\"}\n\nallow if count(input.argv) > 0\n\n"
	connects := "package cowork.access\n\nimport rego.v1\n\ngoverns := {\"connect\"}\n\n"
	for name, c := range map[string]struct{ source, want string }{
		"prefix without slash":  {"package cowork.access\nimport rego.v1\nallow if startswith(input.path, \"/workspace\")\n", `prefix-without-end:3 deny {"operation":"read","path":"/workspacex/evil"}`},
		"prefix of a directory": {"package cowork.access\nimport rego.v1\nallow if startswith(input.path, \"/workspace/src\")\n", `prefix-without-end:3 allow {"operation":"read","path":"/workspace/srcx/evil"}`},
		"sample, moved":         {sampleV0, `other-place:10 deny {"operation":"write","path":"/workspace/.ssh`},
		"suffix, no children":   {allowAll + "deny if endswith(input.path, \"/secrets\")\n", `not-below:9 allow {"operation":"read","path":"/workspace/secrets/below"}`},
		"equality, no children": {allowAll + "deny if input.path == \"/workspace/keys\"\n", `not-below:9 allow {"operation":"read","path":"/workspace/keys/below"}`},
		"other case":            {allowAll + "ask if endswith(input.path, \"/Makefile\")\n", `other-case:9 allow {"operation":"read","path":"/workspace/MAKEFILE"}`},
		"program by word":       {execs + "deny if input.argv[0] == \"curl\"\n", `program-by-word:9 allow {"argv":["/usr/bin/curl","x"],"cwd":"","digest":"","operation":"exec"`},
		"host suffix":           {connects + "allow if endswith(input.host, \"example.com\")\n", `prefix-without-end:7 allow {"host":"evilexample.com"`},
		"host contains":         {connects + "allow if contains(input.host, \"example\")\n", `prefix-without-end:7 allow {"host":"example.evil.test"`},
		"everything":            {"package cowork.access\nimport rego.v1\nallow := true\n", `allows-everything:1 ask {"operation":`},
		"not governed":          {allowAll + "deny if input.operation == \"exec\"\n", "unreachable:9"},
		"no operation":          {allowAll + "deny if input.operation == \"edit\"\n", "unreachable:9"},
		"two at once":           {allowAll + "deny if {\n\tinput.operation == \"read\"\n\tinput.operation == \"write\"\n}\n", "unreachable:11"},
		"always":                {allowAll + "deny if input.path == input.path\n", "tautology:9"},
		"suffix, below what is allowed": {"package cowork.access\nimport rego.v1\nallow if startswith(input.path, \"/workspace/src/\")\ndeny if endswith(input.path, \"/secrets\")\n",
			`not-below:4 allow {"operation":"read","path":"/workspace/src/secrets/below"}`},
		"set, no children":    {allowAll + "deny if input.path in {\"/workspace/prod\"}\n", `not-below:9 allow {"operation":"read","path":"/workspace/prod/below"}`},
		"pattern, other case": {allowAll + "deny if glob.match(\"/workspace/*.pem\", [\"/\"], input.path)\n", `other-case:9 allow {"operation":"read","path":"/workspace/ANY.PEM"}`},
		"expression":          {allowAll + "deny if regex.match(`/secrets$`, input.path)\n", `not-below:9 allow {"operation":"read","path":"/workspace/secrets/below"}`},
		"in a helper":         {allowAll + "deny if secret\n\nsecret if endswith(input.path, \"/secrets\")\n", `not-below:11 allow {"operation":"read","path":"/workspace/secrets/below"}`},
		"host, not below":     {connects + "allow if count(input.host) > 0\n\ndeny if input.host == \"evil.test\"\n", `not-below:9 allow {"host":"sub.evil.test"`},
		"relative path":       {allowAll + "deny if startswith(input.path, \"migrations/\")\n", "unreachable:9"},
		"path with its slash": {allowAll + "deny if input.path == \"/workspace/keys/\"\n", "unreachable:9"},
		"host in capitals":    {connects + "allow if input.host == \"Example.com\"\n", "unreachable:7"},
		"misspelt field":      {allowAll + "deny if endswith(input.pth, \".pem\")\n", "types:9"},
		"wrong type":          {allowAll + "deny if startswith(input.file.size, \"x\")\n", "types:9"},
		"unheard answer":      {allowAll + "denied if endswith(input.path, \".pem\")\n", "never-asked:9"},
		"other word":          {allowAll + "violation contains \"x\" if endswith(input.path, \".pem\")\n", "never-asked:9"},
		"unused variable":     {allowAll + "deny if {\n\tx := 1\n\tendswith(input.path, \".pem\")\n}\n", "strict:10"},
	} {
		t.Run(name, func(t *testing.T) {
			r := check(t, c.source)
			var got []string
			for _, f := range r.Findings {
				got = append(got, strings.TrimSpace(fmt.Sprintf("%s:%d %s %s", f.Check, f.Line, f.Whole, f.Example)))
			}
			if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, c.want) }) {
				t.Errorf("%q\nwant %q", got, c.want)
			}
			for _, f := range r.Findings {
				if f.Example != nil && f.Layer != carrel.Allow {
					t.Errorf("%+v: the example is not let by", f)
				}
			}
		})
	}
}

// TestCheckIsQuietAboutGoodPolicies: what is right must stay silent, or nobody
// reads what it says.
func TestCheckIsQuietAboutGoodPolicies(t *testing.T) {
	for name, source := range map[string]string{
		"file":   "package cowork.access\n\nimport rego.v1\n\ndefault allow := false\n\nallow if startswith(input.path, \"/workspace/\")\n\ndeny contains \"migrations\" if startswith(input.path, \"/workspace/migrations/\")\n",
		"parts":  "package cowork.access\n\nimport rego.v1\n\nallow if startswith(input.path, \"/workspace/src/\")\n\nask contains \"x\" if \"secrets\" in input.parts\n\ndeny contains \"ci\" if \"ci\" in input.classes\n",
		"exec":   "package cowork.access\n\nimport rego.v1\n\ngoverns := {\"exec\"}\n\nallow if count(input.argv) > 0\n\ndeny contains \"curl\" if input.program == \"curl\"\n",
		"host":   "package cowork.access\n\nimport rego.v1\n\ngoverns := {\"connect\"}\n\nallow if endswith(input.host, \".example.com\")\n\nallow if input.host == \"example.com\"\n",
		"friday": fridays,
	} {
		for _, f := range check(t, source).Findings {
			if f.Severity == Hole && !f.Caught() || f.Severity == Fault {
				t.Errorf("%s: %+v %s", name, f, f.Example)
			}
		}
	}
	for _, e := range []error{func() error { _, err := Check(context.Background(), user("package x\n"), nil); return err }()} {
		if e == nil {
			t.Error("a policy that cannot be used passes")
		}
	}
}

func TestOneEdit(t *testing.T) {
	for _, pair := range [][2]string{{"denny", "deny"}, {"den", "deny"}, {"dney", "deny"}, {"demy", "deny"}, {"allo", "allow"}, {"alllow", "allow"}} {
		if !oneEdit(pair[0], pair[1]) {
			t.Errorf("%v", pair)
		}
	}
	for _, pair := range [][2]string{{"deny", "deny"}, {"delta", "deny"}, {"", "deny"}, {"below", "allow"}} {
		if oneEdit(pair[0], pair[1]) {
			t.Errorf("%v", pair)
		}
	}
}

// A check that nobody waits for any more ends, and says how far it is before.
func TestCheckTellsHowFarItIsAndEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	source := head + "allow if input.path == \"/workspace/a\"\n\nallow if input.path == \"/workspace/b\"\n"
	var told [][2]int64
	if _, err := Check(ctx, user(source), func(done, total int64) { told = append(told, [2]int64{done, total}) }); err != nil {
		t.Fatal(err)
	}
	if len(told) < 2 || told[len(told)-1] != [2]int64{int64(len(told)), int64(len(told))} {
		t.Errorf("told %v", told)
	}
	tried := 0
	_, err := Check(ctx, user(source), func(int64, int64) { tried++; cancel() })
	if !errors.Is(err, context.Canceled) || tried != 1 {
		t.Errorf("after it was broken off %d rules were tried: %v", tried, err)
	}
}
