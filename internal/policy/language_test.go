package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

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
	wantError(t, user(openHead+"allow := true\ndenny if endswith(input.path, \".pem\")\n"), "user.rego:5", "`denny` is no answer", "say `deny`")
	wantError(t, user(openHead+"allow := true\nDeny contains \"x\"\n"), "`Deny` is no answer")
	mustLoad := "allow := true\ndenyx if endswith(input.path, \".pem\")\ndeny if denyx\n" // a rule that others use may be named as it likes
	if _, err := compileLayer(user(openHead + mustLoad)); err != nil {
		t.Error(err)
	}
	wantError(t, user(openHead+"allow := x if x := unknown_function(1)\n"), "user.rego:4", "undefined function")
	wantError(t, user(head+"allow(x) := true\n"), "is a function")
	wantError(t, user(head+"deny(x) := true\nallow := true\n"), "is a function")
	wantError(t, Layer{Name: "user", Kind: User}, "no policy files")
	wantError(t, Layer{Name: "builtin", Kind: User}, "the name is taken")
	wantError(t, Layer{Name: "a/b", Kind: User}, "without a slash")
	wantError(t, Layer{Name: "a", Kind: "builtin"}, "kind")
	wantError(t, Layer{Name: "a", Kind: User, Func: func(carrel.Action) Answer { return Answer{} }}, "what it governs")
}

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
		p := &program{modules: modules, compiler: c}
		q, err := p.question(voice{Package: DefaultEntry})
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]carrel.Verdict{"/workspace/a": carrel.Allow, "/workspace/b": carrel.Deny, "/workspace/d": carrel.Deny} {
			in, err := newInput(write(path))
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := q.answer(in.value); got.Verdict != want {
				t.Errorf("%v %s: %+v", version, path, got)
			}
		}
	}
}

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
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	slow := openHead + "x := " + strings.Repeat("1+", 2000) + "1\n"
	if _, err := New(ctx, user(slow)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
