package policy

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/needs"
)

// opa finds the evaluator's own command line, which .ci/prepare installs.
func opa(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"opa", "../../bin/tools/opa"} {
		if found, err := exec.LookPath(path); err == nil {
			if abs, err := filepath.Abs(found); err == nil {
				return abs
			}
		}
	}
	needs.Missing(t, "opa (.ci/prepare installs it)", nil)
	return ""
}

func runOPA(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.Command(opa(t), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s%s", err, out, stderr.Bytes())
	}
	return out, err
}

// oraclePolicies are policies of several styles whose answers are compared.
var oraclePolicies = map[string]string{
	"sample v0": sampleV0,
	"sample v1": sampleV1,
	"tables": head + `governs := {"write", "delete", "exec", "connect"}
default allow := false
allow if input.operation in {"write", "exec"}
allow if { input.operation == "connect"; input.port in {443, 8443} }
owners := {"ops": {"/workspace/infra/", "/workspace/deploy/"}, "db": {"/workspace/migrations/"}}
ask contains {"rule": team, "msg": sprintf("%s looks at %s", [team, input.path])} if {
	some team, prefixes in owners
	some prefix in prefixes
	startswith(input.path, prefix)
}
deny contains msg if {
	some part in input.parts
	part in {"secrets", ".env", "keys"}
	msg := concat(" ", ["no", part])
}
deny contains {"rule": "shell", "msg": "no shells", "next": ["run it directly", "ask"]} if input.program in {"sh", "bash"}
deny contains "internal" if endswith(input.host, ".internal")
`,
	"functions": head + `governs := {"write", "exec", "request"}
allow if not risky(input)
risky(x) if regex.match("(?i)passw(or)?d|token", x.path)
risky(x) if { x.operation == "exec"; count(x.argv) > 6 }
risky(x) if glob.match("/api/*/admin", ["/"], x.path)
ask if { some i, word in input.argv; i > 0; word == "--force" }
deny := {"msg": "deep"} if count(split(input.path, "/")) > 8
`,
	"many rules": manyRules(),
	"errors": head + `allow := true
deny if to_number(trim_prefix(input.path, "/workspace/")) > 5
`,
	"conflicts": head + `allow := true if startswith(input.path, "/workspace/a")
allow := false if endswith(input.path, "a")
deny.by[name] := "x" if { name := input.parts[_]; contains(name, "x") }
`,
}

// manyRules has more rules, and calls of functions, than the list of a
// ruleCache holds, also below a `with`.
func manyRules() string {
	var b strings.Builder
	b.WriteString(head + "governs := {\"write\", \"exec\", \"connect\"}\ndefault allow := false\nallow if count(found) < 3\nfound contains i if { some i in numbers.range(1, 30); has(i) }\n")
	b.WriteString("ask if { some p in {\"/workspace/a1\", \"/x\"}; count(found) > 0; count(found) == 1 with input.path as p }\ndeny[name] := r1 if { r2; name := \"two\" }\n")
	b.WriteString("has(i) if contains(input.path, sprintf(\"%d\", [i]))\n")
	for i := 1; i < 30; i++ {
		fmt.Fprintf(&b, "r%d := r%d\n", i, i+1)
	}
	b.WriteString("r30 := count(input.parts) if has(7)\nr30 := 3 if { not has(7); input.operation != \"exec\" }\n")
	return b.String()
}

// oracleInput makes one input at random of words that the policies look at.
func oracleInput(r *rand.Rand) carrel.Action {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	word := func() string {
		return pick("a", "b", "xx", "infra", "deploy", "migrations", "secrets", ".env", "keys", "7", "4", "Password", "token.txt", ".ssh", "src", "main.go", "É", "a b", "%2e")
	}
	switch r.IntN(5) {
	case 0:
		argv := []carrel.Text{carrel.Text(pick("sh", "/bin/bash", "go", "git", "SH.exe"))}
		for range r.IntN(9) {
			argv = append(argv, carrel.Text(pick("-c", "--force", "test", "\xff", "x y", "")))
		}
		return carrel.Action{Operation: carrel.OpExec, Argv: argv, Cwd: "/workspace"}
	case 1:
		return carrel.Action{Operation: carrel.OpConnect, Host: pick("db.internal", "example.com", "10.0.0.1", "internal"), Port: []int{22, 443, 8443}[r.IntN(3)], Protocol: carrel.ProtoTLS}
	case 2:
		return carrel.Action{
			Operation: carrel.OpRequest, Host: "example.com", Port: 443, Protocol: carrel.ProtoTLS, Method: pick("GET", "POST"),
			URL: carrel.Text(pick("/api/v1/admin", "/api/v1/users", "/token?x=1", "/")),
		}
	}
	path := pick("/workspace", "/workspace", "/home/user", "/tmp")
	for range 1 + r.IntN(8) {
		path += "/" + word()
	}
	a := write(path)
	a.Operation = []carrel.Operation{carrel.OpWrite, carrel.OpDelete, carrel.OpRead}[r.IntN(3)]
	if r.IntN(2) == 0 {
		a.File = &carrel.FileChange{Path: "x", Change: carrel.Created, FileState: carrel.FileState{Size: r.Int64N(1 << 20)}, Labels: []carrel.Label{{Name: word(), Severity: carrel.SeverityHigh}}}
	}
	return a
}

// oracleModule asks a policy about a list of inputs, as a policy itself: one
// start of opa answers them all.
const oracleModule = `package oracle

import rego.v1

answers := [a |
	some x in data.inputs
	a := {
		"allow": [v | v := data.cowork.access.allow with input as x],
		"deny": [v | v := data.cowork.access.deny with input as x],
		"ask": [v | v := data.cowork.access.ask with input as x],
	}
]
`

// TestAgainstTheEvaluatorsOwnCommand: the same policy and the same input give
// the same answer here, in the opa command, and with the index of rules
// switched off. More than 2,000 inputs are tried.
func TestAgainstTheEvaluatorsOwnCommand(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	tried, differ := 0, 0
	for name, source := range oraclePolicies {
		p, err := compileLayer(user(source))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := 520
		if name == "errors" || name == "conflicts" { // opa answers those that fail one by one
			want = 24
		}
		var inputs []input
		for len(inputs) < want {
			if in, err := newInput(oracleInput(r)); err == nil {
				inputs = append(inputs, in)
			}
		}
		tried += len(inputs)
		answers := oracleAnswers(t, name, source, inputs)
		for i, in := range inputs {
			values, err := p.questions[0].values(in.value)
			plain := values
			if unindexed, uerr := unindexedValues(p.questions[0], in.value); uerr == nil != (err == nil) || err == nil && !sameValues(unindexed, values) {
				t.Errorf("%s: the index of rules changes the answer to %s", name, in.json)
			}
			got := "error"
			if err == nil {
				got = fmt.Sprint(jsonValues(t, plain))
			}
			if got != answers[i] {
				differ++
				t.Errorf("%s: %s\n  here: %s\n   opa: %s", name, in.json, got, answers[i])
			}
			if differ > 5 {
				t.FailNow()
			}
		}
	}
	if tried < 2000 {
		t.Errorf("only %d inputs were tried", tried)
	}
}

func sameValues(a, b [3]ast.Value) bool {
	for i := range a {
		if (a[i] == nil) != (b[i] == nil) || a[i] != nil && a[i].Compare(b[i]) != 0 {
			return false
		}
	}
	return true
}

func unindexedValues(q *question, in *ast.Term) (out [3]ast.Value, err error) {
	results, err := topdown.NewQuery(q.body).WithCompiler(q.compiler).WithStore(q.data).WithInput(in).WithIndexing(false).WithStrictBuiltinErrors(true).Run(context.Background())
	if err == nil {
		out = q.read(results[0])
	}
	return out, err
}

func jsonValues(t *testing.T, values [3]ast.Value) string {
	t.Helper()
	var out []string
	for _, v := range values {
		if v == nil {
			out = append(out, "[]")
			continue
		}
		j, err := ast.JSON(ast.NewArray(ast.NewTerm(v)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(j)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return strings.Join(out, " ")
}

// oracleAnswers asks opa for the answers: all at once, and those of inputs
// for which that fails one by one.
func oracleAnswers(t *testing.T, name, source string, inputs []input) []string {
	t.Helper()
	answers, err := askOPA(t, source, inputs)
	if err == nil {
		return answers
	}
	if len(inputs) == 1 {
		return []string{"error"}
	}
	half := len(inputs) / 2
	return slices.Concat(oracleAnswers(t, name, source, inputs[:half]), oracleAnswers(t, name, source, inputs[half:]))
}

func askOPA(t *testing.T, source string, inputs []input) ([]string, error) {
	t.Helper()
	dir := t.TempDir()
	list := make([]json.RawMessage, len(inputs))
	for i, in := range inputs {
		list[i] = in.json
	}
	doc, err := json.Marshal(map[string]any{"inputs": list})
	if err != nil {
		t.Fatal(err)
	}
	version := "--v1-compatible"
	if !strings.Contains(source, "if {") && !strings.Contains(source, "import rego.v1") {
		version = "--v0-compatible"
	}
	for file, text := range map[string]string{"policy.rego": source, "oracle.rego": oracleModule, "data.json": string(doc)} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := runOPA(t, "eval", version, "--strict-builtin-errors", "--format", "raw", "--data", dir, "data.oracle.answers")
	if err != nil {
		return nil, err
	}
	var raw []struct{ Allow, Deny, Ask json.RawMessage }
	if err := json.Unmarshal(out, &raw); err != nil || len(raw) != len(inputs) {
		return nil, fmt.Errorf("%d answers to %d inputs: %w", len(raw), len(inputs), err)
	}
	answers := make([]string, len(raw))
	for i, a := range raw {
		answers[i] = fmt.Sprintf("%s %s %s", a.Allow, a.Deny, a.Ask)
	}
	return answers, nil
}

// TestBundlesWithTheEvaluatorsOwnCommand: what opa signs is read here, and
// what is signed here opa accepts.
func TestBundlesWithTheEvaluatorsOwnCommand(t *testing.T) {
	dir := t.TempDir()
	signer := newSigner(t, "p256")
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	private := put("team.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	public := put("team.pub", publicPEM(t, signer.Public()))
	put("policy/access.rego", []byte(head+"allow if input.path in data.team.paths\n"))
	put("policy/data.json", []byte(`{"team": {"paths": ["/workspace/a", "/workspace/<é>&"], "n": 1.50}}`))

	theirs := filepath.Join(dir, "theirs.tar.gz")
	if out, err := runOPA(t, "build", "--bundle", filepath.Join(dir, "policy"), "--revision", "3", "--signing-alg", "ES256", "--signing-key", private, "--output", theirs); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	l, err := FromBundle("user", User, theirs, []Key{{"team", signer.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	e := engine(t, l)
	wantVerdict(t, e, write("/workspace/a"), carrel.Allow, "user/allow")
	wantVerdict(t, e, write("/workspace/<é>&"), carrel.Allow, "user/allow")
	wantVerdict(t, e, write("/workspace/b"), carrel.Deny, "")

	ours := filepath.Join(dir, "ours.tar.gz")
	var b bytes.Buffer
	if err := WriteBundle(&b, filepath.Join(dir, "policy"), "4", SigningKey{"team", signer}); err != nil {
		t.Fatal(err)
	}
	put("ours.tar.gz", b.Bytes())
	if _, err := runOPA(t, "build", "--bundle", ours, "--verification-key", public, "--verification-key-id", "team", "--signing-alg", "ES256", "--output", filepath.Join(dir, "again.tar.gz")); err != nil {
		t.Error(err)
	}
}

// TestSchemaWithTheEvaluatorsOwnCommand: opa check finds a misspelt field with
// the published schema, and nothing in the built-in policy.
func TestSchemaWithTheEvaluatorsOwnCommand(t *testing.T) {
	if _, err := runOPA(t, "check", "--schema", "../../spec/policy-input.schema.json", "../../policies/files.rego", "../../policies/exec.rego", "../../policies/network.rego", "../../policies/publish.rego", "../../policies/start"); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "a.rego")
	if err := os.WriteFile(path, []byte("package a\n\nallow if input.pth == \"x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := runOPA(t, "check", "--schema", "../../spec/policy-input.schema.json", path); err == nil || !strings.Contains(err.Error(), "undefined ref: input.pth") {
		t.Errorf("a misspelt field passes: %v", err)
	}
}
