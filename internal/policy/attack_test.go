package policy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

const head = "package cowork.access\nimport rego.v1\n"

// open allows everything it governs; rules are added to it.
const openHead = head + "allow := true\n"

var inside = write("/workspace/a")

func wantError(t *testing.T, l Layer, words ...string) {
	t.Helper()
	_, err := New(context.Background(), l)
	if err == nil {
		t.Errorf("%s: no error", l.Files)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

func TestLanguageVersions(t *testing.T) { // E64
	for name, c := range map[string]struct{ source, version string }{
		"v0":                                 {sampleV0, "v0"},
		"v1":                                 {sampleV1, "v1"},
		"v1, said":                           {openHead, "v1"},
		"v0 with future imports":             {"package cowork.access\nimport future.keywords\nallow if { input.path }\ndeny[x] { false; x := 1 }\n", "v0"},
		"v0 with a keyword as a name":        {"package cowork.access\nallow { contains := 1; contains == 1 }\n", "v0"},
		"v0 with a function that v1 dropped": {"package cowork.access\nallow = x { x := re_match(\"work\", input.path) }\n", "v0"},
	} {
		t.Run(name, func(t *testing.T) {
			e := engine(t, user(c.source))
			wantVersion(t, e, c.version)
			wantVerdict(t, e, inside, carrel.Allow, "user/allow")
		})
	}
}

func TestMixedDirectory(t *testing.T) { // E64
	e := engine(t, Layer{Name: "user", Kind: User, Files: []File{
		{"a.rego", []byte("package cowork.access\nallow { input.path }\n")},
		{"b.rego", []byte("package cowork.access\nimport data.team.lib\ndeny contains \"no\" if lib.secret\n")},
		{"lib.rego", []byte("package team.lib\nsecret if endswith(input.path, \".key\")\n")},
	}})
	wantVerdict(t, e, inside, carrel.Allow, "")
	wantVerdict(t, e, write("/workspace/a.key"), carrel.Deny, "user/deny")
	sources := e.Sources()
	files := sources[len(sources)-1].Files
	if files[0].Version != "v0" || files[1].Version != "v1" {
		t.Errorf("versions: %+v", files)
	}
}

func TestUnreadablePolicyIsAnError(t *testing.T) { // E64
	wantError(t, user("package cowork.access\nallow if {\n"), "neither Rego v1 nor v0", "user.rego:3: ")
	wantError(t, user(head+"allow { true }\n"), "user.rego:3", "`if` keyword is required")
	wantError(t, user(""), "user.rego")
	wantError(t, user("# nothing\n"), "user.rego")
	wantError(t, user("package cowork.access\nx := 1\n"), "no rule `allow`, `deny` or `ask`")
	wantError(t, user("package team.policy\nallow := true\n"), "nothing to ask", "governs")
	wantError(t, user(openHead+"allow := x if x := unknown_function(1)\n"), "user.rego:4", "undefined function")
	wantError(t, user(head+"allow(x) := true\n"), "is a function")
	wantError(t, user(head+"deny(x) := true\nallow := true\n"), "is a function")
	wantError(t, Layer{Name: "user", Kind: User}, "no policy files")
	wantError(t, Layer{Name: "builtin", Kind: User}, "the name is taken")
	wantError(t, Layer{Name: "a/b", Kind: User}, "without a slash")
	wantError(t, Layer{Name: "a", Kind: "builtin"}, "kind")
	wantError(t, Layer{Name: "a", Kind: User, Func: func(carrel.Action) Answer { return Answer{} }}, "what it governs")
}

// TestBothVersionsReadAlike: a source that does not say its version has one
// meaning, whichever parser accepts it.
func TestBothVersionsReadAlike(t *testing.T) { // E65
	both := 0
	for _, rule := range []string{
		`deny["x"]`, `deny.x`, `deny.x.y`, `deny["x"] = true`, `deny["x"] := 1`, "import future.keywords.if\ndeny[\"x\"] if true",
		"import future.keywords\ndeny.x if true", "import future.keywords\ndeny[x] if x := 1", "import future.keywords.contains\ndeny contains 1",
		`p(x)`, `p = x`, `p = {x}`, `x := {1 | true}`, "default a = 1\na = input.x", `p[input.x] := 1`, `x := data.if`, `x := input.every`,
		`x := [if, contains]`, `p := some`, `deny { true }`, `default allow := false`, "allow := input.x\ndeny := {m | m := input.y}",
	} {
		f := File{"both.rego", []byte("package a\n" + rule + "\n")}
		v0, err0 := parseAs(f, ast.RegoV0)
		v1, err1 := parseAs(f, ast.RegoV1)
		if err0 != nil || err1 != nil {
			continue
		}
		both++
		if !slices.EqualFunc(v0.Rules, v1.Rules, func(x, y *ast.Rule) bool { return x.Equal(y) }) {
			t.Errorf("%s is read as %v and as %v", rule, v0.Rules, v1.Rules)
		}
	}
	if both < 10 {
		t.Errorf("only %d sources were accepted by both", both)
	}
}

// TestBothVersionsDecideAlike: a source that says nothing and parses as both
// gives the same answers as both.
func TestBothVersionsDecideAlike(t *testing.T) { // E65
	f := File{"both.rego", []byte("package cowork.access\ndefault allow := false\nallow := input.path == \"/workspace/a\"\ndefault ask := false\ndeny := [m | m := input.path; m == \"/workspace/d\"]\n")}
	for _, version := range []ast.RegoVersion{ast.RegoV0, ast.RegoV1} {
		m, err := parseAs(f, version)
		if err != nil {
			t.Fatal(err)
		}
		modules := []module{{file: f, ast: m}}
		c, err := compile(modules)
		if err != nil {
			t.Fatal(err)
		}
		e, err := newEntry(Layer{Name: "user", Kind: User}, DefaultEntry, modules, c)
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]carrel.Verdict{"/workspace/a": carrel.Allow, "/workspace/b": carrel.Deny, "/workspace/d": carrel.Deny} {
			in, err := newInput(write(path))
			if err != nil {
				t.Fatal(err)
			}
			if got := e.ask(write(path), in); got.Verdict != want {
				t.Errorf("%v %s: %+v", version, path, got)
			}
		}
	}
}

func TestDenialForms(t *testing.T) { // E67, E68
	for rules, want := range map[string]struct {
		verdict carrel.Verdict
		reason  string
	}{
		"":                                   {carrel.Allow, ""},
		"deny := false":                      {carrel.Allow, ""},
		"deny := set()":                      {carrel.Allow, ""},
		"deny := []":                         {carrel.Allow, ""},
		"deny := {}":                         {carrel.Allow, ""},
		"deny contains \"x\" if false":       {carrel.Allow, ""},
		"deny if false":                      {carrel.Allow, ""},
		"ask := false":                       {carrel.Allow, ""},
		"ask contains \"x\" if false":        {carrel.Allow, ""},
		"deny := true":                       {carrel.Deny, "the policy denies it"},
		"deny contains \"no\"":               {carrel.Deny, "no"},
		"deny := [\"no\"]":                   {carrel.Deny, "no"},
		"deny := \"no\"":                     {carrel.Deny, "no"},
		"deny := \"\"":                       {carrel.Deny, "the policy denies it"},
		"deny := {\"msg\": \"no\"}":          {carrel.Deny, "no"},
		"deny contains {\"msg\": \"no\"}":    {carrel.Deny, "no"},
		"deny[\"why\"] := \"no\"":            {carrel.Deny, "no"},
		"deny[\"why\"] := {\"msg\": \"no\"}": {carrel.Deny, "no"},
		"deny[\"why\"] := true":              {carrel.Deny, "why"},
		"deny := 0":                          {carrel.Deny, "0"},
		"deny := null":                       {carrel.Deny, "null"},
		"deny contains false":                {carrel.Deny, "the policy denies it"},
		"deny contains null":                 {carrel.Deny, "null"},
		"deny.a.b := \"no\"":                 {carrel.Deny, "a"},
		"ask := true":                        {carrel.Ask, "the policy asks for approval"},
		"ask contains {\"msg\": \"sure?\"}":  {carrel.Ask, "sure?"},
		"ask := true\ndeny := true":          {carrel.Deny, "the policy denies it"},
	} {
		e := engine(t, user(openHead+rules+"\n"))
		if d := wantVerdict(t, e, inside, want.verdict, ""); want.reason != d.Reason && d.Verdict != carrel.Allow {
			t.Errorf("%s: reason %q, want %q", rules, d.Reason, want.reason)
		}
	}
}

func TestOnlyTrueAllows(t *testing.T) {
	for _, rule := range []string{
		"default allow := false", "allow if input.nothing", "allow := \"true\"", "allow := 1", "allow := {true}", "allow := [true]", "allow := null",
		"allow contains true", "allow := {\"allow\": true}", "deny := false", "allow[\"x\"] := true",
	} {
		wantVerdict(t, engine(t, user(head+rule+"\n")), inside, carrel.Deny, "user/not-allowed")
	}
}

func TestFailuresDeny(t *testing.T) { // 154, E70
	for name, c := range map[string]struct{ rules, rule string }{
		"error in deny":      {`deny if to_number("abc") == 1`, "user/error"},
		"error in allow":     {`allow if to_number("abc") == 1`, "user/error"},
		"error in ask":       {`ask if to_number("abc") == 1`, "user/error"},
		"wrong type":         {`deny if contains(input.argv, "x")` + "\n" + `deny if startswith(json.unmarshal("1"), "x")`, "user/error"},
		"conflict in allow":  {"allow := false if input.path\nallow := true if input.operation", "user/error"},
		"conflict in deny":   {"deny := \"a\" if input.path\ndeny := \"b\" if input.operation", "user/error"},
		"endless":            {"deny if { some i in numbers.range(1, 100000); some j in numbers.range(1, 100000); i * j < 0 }", "user/time-out"},
		"slow regex":         {`deny if regex.match("(a*)*b", concat("", [x | some i in numbers.range(1, 300000); x := sprintf("%d", [i])]))`, ""},
		"division by nought": {"deny if 1 / count(input.nothing) == 1\ndeny if 1 / (count(input.path) - count(input.path)) == 1", "user/error"},
	} {
		t.Run(name, func(t *testing.T) {
			allow := "allow := true\n"
			if strings.Contains(c.rules, "allow") {
				allow = ""
			}
			e := engine(t, user(head+allow+c.rules+"\n"))
			start := time.Now()
			wantVerdict(t, e, inside, carrel.Deny, c.rule)
			if took := time.Since(start); took > 5*deadline {
				t.Errorf("took %v", took)
			}
			wantVerdict(t, e, execAction, carrel.Allow, "") // the rest of the policy still answers
		})
	}
}

func TestPanickingLayerDenies(t *testing.T) {
	l := egress("ok.test")
	l.Func = func(carrel.Action) Answer { panic("broken") }
	wantVerdict(t, engine(t, l), connect("ok.test"), carrel.Deny, "egress/fault")
}

// TestPoliciesHaveNoIO: attack 154; functions that reach out, or whose answer
// cannot be found again, do not exist.
func TestPoliciesHaveNoIO(t *testing.T) {
	for _, call := range []string{
		`http.send({"method": "get", "url": "http://127.0.0.1"})`, `opa.runtime()`, `net.lookup_ip_addr("localhost")`, `time.now_ns()`,
		`rand.intn("x", 10)`, `uuid.rfc4122("x")`, `io.jwt.decode_verify("x", {})`, `json.match_schema({}, {"$ref": "http://127.0.0.1"})`,
		`rego.parse_module("x", "package x")`, `strings.render_template("x", {})`, `net.cidr_expand("10.0.0.0/8")`,
		`crypto.x509.parse_certificates("x")`, `graphql.is_valid("x", "y")`, `yaml.unmarshal("x")`, `providers.aws.sign_req({}, {}, 1)`,
	} {
		wantError(t, user(openHead+"deny if "+call+"\n"), "user.rego:4", "undefined function")
	}
	for _, b := range capabilities().Builtins {
		if b.Nondeterministic {
			t.Errorf("%s is not deterministic", b.Name)
		}
	}
	if n := capabilities().AllowNet; n == nil || len(n) > 0 {
		t.Errorf("schemas may be fetched from %v", n)
	}
}

func TestEveryAllowedFunctionExists(t *testing.T) {
	for _, name := range allowedBuiltins {
		if !slices.ContainsFunc(ast.Builtins, func(b *ast.Builtin) bool {
			return b.Name == name || strings.HasSuffix(name, ".") && strings.HasPrefix(b.Name, name)
		}) {
			t.Errorf("%s is allowed and does not exist", name)
		}
	}
}

func TestPoliciesAreBounded(t *testing.T) { // E74
	wantError(t, user(openHead+"# "+strings.Repeat("x", maxFile)), "bytes of policy")
	many := strings.Builder{}
	for i := range maxRules {
		fmt.Fprintf(&many, "r%d := 1\n", i)
	}
	wantError(t, user(openHead+many.String()), "more than")
	wantError(t, user(openHead+"x := "+strings.Repeat("[", 300)+strings.Repeat("]", 300)+"\n"), "user.rego:4", "nested deeper")
	wantError(t, Layer{Name: "user", Kind: User, Files: make([]File, maxFiles+1)}, "user")
	engine(t, user(openHead+"# "+strings.Repeat("(", 300)+"\nx := \""+strings.Repeat("[", 300)+"\\\"{\"\ny := `"+strings.Repeat("{", 300)+"`\n"))
}

func TestSlowPolicyIsGivenUp(t *testing.T) { // E74
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	slow := openHead + "x := " + strings.Repeat("1+", 3000) + "1\n"
	start := time.Now()
	if _, err := New(ctx, user(slow)); err == nil || time.Since(start) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func TestMalformedActionsNeverReachAPolicy(t *testing.T) { // E71, 155
	e := engine(t, user(openHead+"governs := {\"write\", \"exec\", \"connect\", \"request\", \"publish\", \"resolve\"}\n"), egress("ok.test"))
	request := carrel.Action{Operation: carrel.OpRequest, Host: "ok.test", Port: 443, Protocol: carrel.ProtoTLS, Method: "GET", URL: "/x?y"}
	wantVerdict(t, e, request, carrel.Allow, "")
	bad := map[string]func(a *carrel.Action){
		"input/operation":      func(a *carrel.Action) { a.Operation = "WRITE" },
		"input/host":           func(a *carrel.Action) { a.Host = "OK.test" },
		"input/port":           func(a *carrel.Action) { a.Port = 0 },
		"input/protocol":       func(a *carrel.Action) { a.Protocol = "TLS" },
		"input/method":         func(a *carrel.Action) { a.Method = "get" },
		"input/url":            func(a *carrel.Action) { a.URL = "http://evil.test/" },
		"input/path":           func(a *carrel.Action) { a.Operation, a.Path = carrel.OpWrite, "" },
		"input/argv":           func(a *carrel.Action) { a.Operation, a.Argv = carrel.OpExec, nil },
		"input/publication":    func(a *carrel.Action) { a.Operation, a.Publication = carrel.OpPublish, nil },
		"input/subject":        func(a *carrel.Action) { a.Operation, a.SubjectDigest = carrel.OpApprove, someDigest },
		"input/subject_digest": func(a *carrel.Action) { a.Operation, a.Subject = carrel.OpApprove, "x" },
	}
	for rule, spoil := range bad {
		a := request.Clone()
		spoil(&a)
		wantVerdict(t, e, a, carrel.Deny, rule)
	}
	for _, host := range []string{"", "ok.test.", ".ok.test", "a..b", "ok.test ", "ok\x00.test", "127.1", "0x7f.1", "127.0x1", "x.0x", "2130706433", "::ffff:10.0.0.1", "010.0.0.1",
		"fe80::1%eth0", "FD00::1", "[::1]", "ök.test", strings.Repeat("a", 300), "ok.test:443", "u@ok.test", "ok.test/x"} {
		a := request.Clone()
		a.Host = host
		wantVerdict(t, e, a, carrel.Deny, "input/host")
	}
	huge := execAction.Clone()
	huge.Argv = append(huge.Argv, carrel.Text(strings.Repeat("x", maxTexts)))
	wantVerdict(t, e, huge, carrel.Deny, "input/argv")
}

func TestBytesThatAreNoTextFailRulesThatReadThem(t *testing.T) {
	e := engine(t, user(openHead+"governs := {\"exec\"}\ndeny if contains(input.argv[_], \"rm\")\n"))
	odd := execAction.Clone()
	odd.Argv = append(odd.Argv, "\xff rm")
	wantVerdict(t, e, odd, carrel.Deny, "user/error")
	wantVerdict(t, e, execAction, carrel.Allow, "user/allow")
}

func TestNothingGovernsMeansDenied(t *testing.T) {
	e := engine(t)
	e.entries = e.entries[:1]
	wantVerdict(t, e, execAction, carrel.Deny, "policy/not-granted")
	var none *Engine
	wantVerdict(t, none, execAction, carrel.Deny, "policy/none")
	wantVerdict(t, &Engine{}, execAction, carrel.Deny, "policy/none")
}

// TestLayersCannotReachEachOther: a layer that defines rules in another's
// package, or in the floor's, changes nothing there.
func TestLayersCannotReachEachOther(t *testing.T) {
	intruder := Layer{Name: "zz", Kind: User, Files: []File{
		{"a.rego", []byte(openHead)},
		{"b.rego", []byte("package carrel.builtin.files\nimport rego.v1\ndenied_parts := {}\nallow := true\n")},
	}}
	e := engine(t, user(head+"deny := true\n"), intruder)
	wantVerdict(t, e, inside, carrel.Deny, "user/deny")
	wantVerdict(t, engine(t, intruder), write("/workspace/.git/config"), carrel.Deny, "builtin/git-directory")
}

func TestSeveralLayersMustAllAllow(t *testing.T) {
	org := Layer{Name: "organisation", Kind: Organisation, Files: []File{{"org.rego", []byte(head + "allow if not endswith(input.path, \".pem\")\nask if endswith(input.path, \".sql\")\n")}}}
	e := engine(t, org, user(openHead))
	wantVerdict(t, e, inside, carrel.Allow, "organisation/allow")
	wantVerdict(t, e, write("/workspace/a.pem"), carrel.Deny, "organisation/not-allowed")
	wantVerdict(t, e, write("/workspace/a.sql"), carrel.Ask, "organisation/ask")
	wantVerdict(t, engine(t, org, user(head+"deny := true\n")), write("/workspace/a.sql"), carrel.Deny, "user/deny")
}

func TestEntryPoints(t *testing.T) {
	two := Layer{Name: "user", Kind: User, Files: []File{
		{"files.rego", []byte(openHead)},
		{"exec.rego", []byte("package team.exec\nimport rego.v1\ngoverns := {\"exec\"}\nallow if input.argv[0] == \"go\"\n")},
		{"lib.rego", []byte("package team.lib\nimport rego.v1\nallow := true\n")},
	}}
	e := engine(t, two)
	wantVerdict(t, e, inside, carrel.Allow, "")
	wantVerdict(t, e, execAction, carrel.Allow, "user/allow")
	sh := execAction.Clone()
	sh.Argv[0] = "sh"
	wantVerdict(t, e, sh, carrel.Deny, "user/not-allowed")
	named := user("package a[\"b-c\"].d\nimport rego.v1\nallow := true\ndeny if endswith(input.path, \"x\")\n")
	named.Entry = `data.a["b-c"].d`
	e = engine(t, named)
	wantVerdict(t, e, inside, carrel.Allow, "user/allow")
	wantVerdict(t, e, write("/workspace/x"), carrel.Deny, "user/deny")
	named.Entry = "data.other"
	wantError(t, named, "data.other")
}

func TestGovernsMustBeConstant(t *testing.T) {
	for _, bad := range []string{
		"governs := {\"fly\"}", "governs := {1}", "governs := \"write\"", "governs := {x | x := input.operation}", "governs contains \"write\"",
		"governs := {\"write\"} if input.x", "default governs := {\"write\"}\ngoverns := {\"exec\"}",
	} {
		wantError(t, user(openHead+bad+"\n"), "user.rego", "governs")
	}
}

func TestDigestCoversEverythingDecidedBy(t *testing.T) { // E77, E80
	seen := map[carrel.Digest]string{}
	for name, layers := range map[string][]Layer{
		"none": nil, "v0": {user(sampleV0)}, "v1": {user(sampleV1)}, "comment": {user(sampleV1 + "# x\n")},
		"egress": {egress("a")}, "other egress": {egress("b")}, "both": {user(sampleV0), egress("a")},
	} {
		d := engine(t, layers...).Digest()
		if other, ok := seen[d]; ok || d != engine(t, layers...).Digest() {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[d] = name
	}
	e := engine(t)
	d := wantVerdict(t, e, inside, carrel.Allow, "")
	if d.Policy != e.Digest() || !d.Input.Equal(d.Input) {
		t.Errorf("%+v", d)
	}
}

func TestInputDigestCoversEveryField(t *testing.T) { // E80
	e := engine(t)
	digest := func(change func(a *carrel.Action)) carrel.Digest {
		a := write("/workspace/a")
		a.File = &carrel.FileChange{Path: "a", Change: carrel.Modified, Labels: []carrel.Label{{Name: "x", Severity: carrel.SeverityLow}}}
		change(&a)
		return e.Decide(context.Background(), a).Input
	}
	seen := map[carrel.Digest]int{}
	for i, change := range []func(a *carrel.Action){
		func(a *carrel.Action) {}, func(a *carrel.Action) { a.Path = "/workspace/b" }, func(a *carrel.Action) { a.RawPath = "b" },
		func(a *carrel.Action) { a.Agent = "x" }, func(a *carrel.Action) { a.Run = "x" }, func(a *carrel.Action) { a.File.Mode = 1 },
		func(a *carrel.Action) { a.File.Size = 1 }, func(a *carrel.Action) { a.File.Before.Size = 1 }, func(a *carrel.Action) { a.File.Labels = nil },
		func(a *carrel.Action) { a.File.Labels[0].Severity = carrel.SeverityHigh }, func(a *carrel.Action) { a.Operation = carrel.OpDelete },
		func(a *carrel.Action) { a.File.Target = "x" }, func(a *carrel.Action) { a.File = nil }, func(a *carrel.Action) { a.File.Digest = someDigest },
	} {
		d := digest(change)
		if j, ok := seen[d]; ok || d == "" {
			t.Errorf("changes %d and %d have one input digest", i, j)
		}
		seen[d] = i
	}
}

func TestUngated(t *testing.T) {
	source := head + "governs := {\"write\", \"exec\"}\nallow if input.operation == \"write\"\nallow if {\n\tinput.operation in {\"exec\", \"tool\"}\n}\n"
	gated := []carrel.Operation{carrel.OpWrite, carrel.OpDelete}
	got := engine(t, user(source)).Ungated(gated)
	want := []string{
		"user: user.rego governs exec, which this tier does not put to the policy",
		"user: user.rego:6 names exec, which this tier does not put to the policy",
		"user: user.rego:6 names tool, which the layer does not govern; say `governs := {…}`",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := engine(t, user(sampleV0), user2(sampleV1)).Ungated(gated); len(got) > 0 {
		t.Errorf("sample: %q", got)
	}
}

func user2(source string) Layer {
	l := user(source)
	l.Name = "user2"
	return l
}

func TestExplain(t *testing.T) {
	e := engine(t, user(sampleV0))
	x := e.Explain(write("/home/u/.ssh/id"))
	if x.Decision.Verdict != carrel.Deny || len(x.Voices) != 2 || x.Voices[1].Reason != "SSH keys are off limits" {
		t.Errorf("%+v", x)
	}
	if got := carrel.DigestBytes(x.Input); got != x.Decision.Input {
		t.Errorf("the input shown is not the one decided on")
	}
	if b, err := carrel.Canonical(x); err != nil {
		t.Errorf("%s %v", b, err)
	}
	if x := e.Explain(write("/workspace/../x")); x.Input != nil || x.Decision.Allows() {
		t.Errorf("%+v", x)
	}
}

func TestFromPath(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := FromPath("user", User, dir); err == nil || !strings.Contains(err.Error(), "no .rego file") {
		t.Errorf("an empty directory: %v", err)
	}
	put("a.rego", openHead)
	put("sub/b.rego", "package lib\n")
	put("a_test.rego", "broken")
	put(".hidden/c.rego", "broken")
	put("README.md", "broken")
	l, err := FromPath("user", User, dir)
	if err != nil || len(l.Files) != 2 || l.Files[1].Name != "sub/b.rego" {
		t.Fatalf("%+v %v", l, err)
	}
	wantVerdict(t, engine(t, l), inside, carrel.Allow, "user/allow")
	if l, err := FromPath("user", User, filepath.Join(dir, "a.rego")); err != nil || len(l.Files) != 1 || l.Files[0].Name != "a.rego" {
		t.Errorf("%+v %v", l, err)
	}
	put("big.rego", strings.Repeat("#", maxFile+1))
	if _, err := FromPath("user", User, dir); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a big file: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "big.rego")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link.rego")); err != nil {
		t.Fatal(err)
	}
	if _, err := FromPath("user", User, dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a link: %v", err)
	}
	if _, err := FromPath("user", User, "/dev/zero"); err == nil {
		t.Error("a device was read")
	}
	if _, err := FromPath("user", User, dir+"/none"); err == nil {
		t.Error("a missing path was read")
	}
}

// TestConcurrentDecisions: the floor is compiled when it is first asked, by
// however many at once; every decision names the one policy it rested on.
func TestConcurrentDecisions(t *testing.T) { // 158
	engines := []*Engine{engine(t, user(openHead)), engine(t, user(head+"deny := true\n"))}
	var current atomic.Pointer[Engine]
	current.Store(engines[0])
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				if i == 0 {
					current.Store(engines[j%2])
				}
				d := current.Load().Decide(context.Background(), inside)
				want := map[carrel.Digest]carrel.Verdict{engines[0].Digest(): carrel.Allow, engines[1].Digest(): carrel.Deny}[d.Policy]
				if d.Verdict != want {
					t.Errorf("%+v", d)
				}
			}
		})
	}
	wg.Wait()
	engines[0].Warm()
	wantVerdict(t, engines[0], publishAction(false, carrel.SeverityLow), carrel.Ask, "builtin/review")
}
