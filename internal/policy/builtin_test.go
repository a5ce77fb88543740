package policy

import (
	"context"
	"io/fs"
	"iter"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/tester"

	"github.com/carrel-dev/carrel"
)

// TestBuiltinTableIsWhatTheFilesDeclare: the table lets files be compiled
// late, so it must say what they say.
func TestBuiltinTableIsWhatTheFilesDeclare(t *testing.T) {
	entries, files, err := builtinEntries()
	if err != nil {
		t.Fatal(err)
	}
	var governed []carrel.Operation
	for i, f := range files {
		m, err := parseModule(f)
		if err != nil {
			t.Fatal(err)
		}
		governs, _, err := m.constant("governs")
		if err != nil {
			t.Fatal(err)
		}
		ceiling, _, err := m.constant("ceiling")
		if err != nil {
			t.Fatal(err)
		}
		if m.version != "v1" || m.pkg() != entries[i].Package {
			t.Errorf("%s: %s, version %s", f.Name, m.pkg(), m.version)
		}
		if !sameOperations(governs, entries[i].Governs) || !sameOperations(ceiling, entries[i].Ceiling) {
			t.Errorf("%s declares governs %v, ceiling %v; the table says %v, %v", f.Name, governs, ceiling, entries[i].Governs, entries[i].Ceiling)
		}
		governed = append(governed, entries[i].Governs...)
	}
	for _, op := range slices.Concat(carrel.AgentOperations, carrel.OperatorOperations) {
		if !slices.Contains(governed, op) {
			t.Errorf("the built-in policy does not govern %s", op)
		}
	}
	on, err := fs.Glob(os.DirFS("../../policies"), "*.rego")
	if err != nil {
		t.Fatal(err)
	}
	on = slices.DeleteFunc(on, func(n string) bool { return strings.HasSuffix(n, "_test.rego") })
	if len(on) != len(files) {
		t.Errorf("policies/ has %d sources, the engine uses %d", len(on), len(files))
	}
}

// TestBuiltinFilesPassEveryCheck: a run leaves out the compiler's checks that
// nothing depends on, so they are made here, with the few functions that the
// table lists and no other.
func TestBuiltinFilesPassEveryCheck(t *testing.T) {
	_, files, err := builtinEntries()
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, f := range files {
		m, err := parseAs(f, ast.RegoV1)
		if err != nil {
			t.Fatal(err)
		}
		c := ast.NewCompiler().WithCapabilities(builtinCapabilities()).WithStrict(true)
		if c.Compile(map[string]*ast.Module{f.Name: m}); c.Failed() {
			t.Errorf("%s: %v", f.Name, c.Errors)
		}
		for _, b := range c.Required.Builtins {
			used[b.Name] = true
		}
	}
	for _, name := range usedByBuiltin {
		if !used[name] {
			t.Errorf("no built-in file calls %s", name)
		}
		if !allowedBuiltin(name) {
			t.Errorf("%s is more than users' policies may call", name)
		}
	}
}

func sameOperations(names []string, ops []carrel.Operation) bool {
	var got []string
	for _, op := range ops {
		got = append(got, string(op))
	}
	slices.Sort(got)
	return slices.Equal(names, got)
}

// TestRegoTests runs the bundle's own tests with the evaluator's tester.
func TestRegoTests(t *testing.T) {
	modules := map[string]*ast.Module{}
	names, err := fs.Glob(os.DirFS("../../policies"), "*.rego")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		source, err := os.ReadFile("../../policies/" + name)
		if err != nil {
			t.Fatal(err)
		}
		m, err := parseAs(File{name, source}, ast.RegoV1)
		if err != nil {
			t.Fatal(err)
		}
		modules[name] = m
	}
	results, err := tester.NewRunner().SetModules(modules).SetDefaultRegoVersion(ast.RegoV1).RunTests(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for r := range results {
		ran++
		if r.Fail || r.Error != nil {
			t.Errorf("%s.%s (%v): fail %v, error %v", r.Package, r.Name, r.Location, r.Fail, r.Error)
		}
	}
	if ran < 20 {
		t.Errorf("only %d tests ran", ran)
	}
}

// TestFloorCannotBeLifted: attack 157; a layer that allows everything lifts
// nothing that the floor denies or asks.
func TestFloorCannotBeLifted(t *testing.T) {
	open := user(`package cowork.access
import rego.v1
governs := {"read", "write", "delete", "exec", "resolve", "connect", "publish"}
allow := true
deny := false
ask := false
`)
	e := engine(t, open)
	wantVerdict(t, e, write("/workspace/ok.go"), carrel.Allow, "user/allow")
	for _, p := range []string{
		"/workspace/.git/config", "/workspace/sub/.git/hooks/post-checkout", "/workspace/.GIT/hooks/pre-commit", "/workspace/git~1/config",
		"/workspace/.git::$INDEX_ALLOCATION/config", "/workspace/.git./config", "/workspace/.git /config", "/workspace/.g\u200cit/config",
		"/workspace/a\\.git\\config", "/workspace/\u212a.txt/.\u017fsh/id", "/workspace/.SSH/id", "/workspace/x/.aws/credentials",
		"/workspace/.docker/config.json", "/workspace/.config/gh/hosts.yml", "/workspace/.netrc", "/workspace/name.", "/workspace/name ",
		"/workspace/dir./x", "/workspace/progra~1/x", "/etc/passwd", "/workspace", "/workspacex/y", "/",
	} {
		wantVerdict(t, e, write(p), carrel.Deny, "")
	}
	for _, p := range []string{
		"/workspace/.github/workflows/ci.yml", "/workspace/.GitHub/Workflows/ci.yml", "/workspace/CODEOWNERS", "/workspace/docs/CODEOWNERS",
		"/workspace/.claude/settings.local.json", "/workspace/.Claude/Settings.json", "/workspace/.CURSOR/mcp.json", "/workspace/.mcp.json",
		"/workspace/AGENTS.md", "/workspace/sub/CLAUDE.md", "/workspace/.vscode/tasks.json", "/workspace/.gitattributes", "/workspace/.gitmodules",
		"/workspace/package.json", "/workspace/setup.py", "/workspace/.carrel/config.yaml", "/workspace/x.code-workspace", "/workspace/.venv/bin/python",
		"/workspace/.gitlab-ci.yml", "/workspace/Jenkinsfile", "/workspace/.github/dependabot.yml",
	} {
		wantVerdict(t, e, write(p), carrel.Ask, "")
	}
	for _, p := range []string{
		"/workspace/git.go", "/workspace/docs/ssh.md", "/workspace/.github/README.md", "/workspace/.gitignore", "/workspace/a:b",
		"/workspace/net/aux.go", "/workspace/foo.~1~", "/workspace/docker/config.json", "/workspace/.config/app.toml", "/workspace/Makefile",
	} {
		wantVerdict(t, e, write(p), carrel.Allow, "user/allow")
	}
}

// TestWindowsDeviceNames: attack 28; a file that is already there stays editable.
func TestWindowsDeviceNames(t *testing.T) {
	e := engine(t)
	create := write("/workspace/drivers/aux.c")
	create.File = &carrel.FileChange{Path: "drivers/aux.c", Change: carrel.Created}
	wantVerdict(t, e, create, carrel.Deny, "builtin/windows-device")
	modify := create.Clone()
	modify.File.Change = carrel.Modified
	wantVerdict(t, e, modify, carrel.Allow, "builtin/allow")
}

func TestRiskyLabelsAreAsked(t *testing.T) {
	e := engine(t)
	a := write("/workspace/run.sh")
	a.File = &carrel.FileChange{Path: "run.sh", Change: carrel.Created, Labels: []carrel.Label{{Name: "executable", Severity: carrel.SeverityHigh}}}
	wantVerdict(t, e, a, carrel.Ask, "builtin/risky-file")
	a.File.Labels[0].Severity = carrel.SeverityLow
	wantVerdict(t, e, a, carrel.Allow, "builtin/allow")
}

func TestPublish(t *testing.T) {
	e := engine(t)
	wantVerdict(t, e, publishAction(false, carrel.SeverityNone), carrel.Ask, "builtin/review")
	wantVerdict(t, e, publishAction(true, carrel.SeverityLow), carrel.Allow, "builtin/allow")
	for _, level := range []carrel.Severity{carrel.SeverityMedium, carrel.SeverityHigh, carrel.SeverityCritical, "odd", ""} {
		wantVerdict(t, e, publishAction(true, level), carrel.Ask, "builtin/risk")
	}
	empty := publishAction(true, carrel.SeverityNone)
	empty.Publication.Files = 0
	wantVerdict(t, e, empty, carrel.Deny, "builtin/empty")
}

func connect(host string) carrel.Action {
	return carrel.Action{Operation: carrel.OpConnect, Host: host, Port: 443, Protocol: carrel.ProtoTLS}
}

func egress(hosts ...string) Layer {
	return Layer{Name: "egress", Kind: User, Text: []byte("to " + strings.Join(hosts, " ")),
		Governs: []carrel.Operation{carrel.OpResolve, carrel.OpConnect, carrel.OpRequest},
		Func: func(a carrel.Action) Answer {
			if slices.Contains(hosts, a.Host) {
				ans := Answer{Verdict: carrel.Allow, Rules: []string{a.Host}}
				if _, err := netip.ParseAddr(a.Host); err == nil {
					ans.Addresses = []string{a.Host}
				}
				return ans
			}
			return Answer{Rules: []string{"no-rule"}, Reason: "no rule names " + a.Host, NextSteps: []string{"carrel run --allow " + a.Host}}
		}}
}

// TestNetworkIsDeniedUntilGranted: empty means nothing; what the built-in
// policy does not deny it does not grant.
func TestNetworkIsDeniedUntilGranted(t *testing.T) {
	wantVerdict(t, engine(t), connect("ok.test"), carrel.Deny, "policy/not-granted")
	e := engine(t, egress("ok.test", "10.0.0.7", "169.254.169.254", "metadata.google.internal"))
	wantVerdict(t, e, connect("ok.test"), carrel.Allow, "egress/ok.test")
	d := wantVerdict(t, e, connect("evil.test"), carrel.Deny, "egress/no-rule")
	if !slices.Equal(d.NextSteps, []string{"carrel run --allow evil.test"}) {
		t.Errorf("next steps: %q", d.NextSteps)
	}
	if d := wantVerdict(t, e, connect("10.0.0.7"), carrel.Allow, ""); !slices.Equal(d.Addresses, []string{"10.0.0.7"}) {
		t.Errorf("addresses: %q", d.Addresses)
	}
}

// TestMetadataIsNeverReached: attack 98, even where a rule names it.
func TestMetadataIsNeverReached(t *testing.T) {
	hosts := []string{"169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "fd00:ec2::254", "metadata.google.internal", "fe80::1"}
	e := engine(t, egress(hosts...))
	for _, host := range hosts {
		wantVerdict(t, e, connect(host), carrel.Deny, "builtin/metadata")
		wantVerdict(t, e, carrel.Action{Operation: carrel.OpResolve, Host: host}, carrel.Deny, "builtin/metadata")
	}
}

func TestLeasesAreDeniedUntilGranted(t *testing.T) {
	a := carrel.Action{Operation: carrel.OpCredential, Subject: "github"}
	wantVerdict(t, engine(t), a, carrel.Deny, "policy/not-granted")
	grant := Layer{Name: "leases", Kind: User, Governs: []carrel.Operation{carrel.OpCredential}, Text: someText,
		Func: func(carrel.Action) Answer { return Answer{Verdict: carrel.Allow, Rules: []string{"github"}} }}
	wantVerdict(t, engine(t, grant), a, carrel.Allow, "leases/github")
}

// TestOperatorsAreNotLockedOut: no policy of a user can stop approving.
func TestOperatorsAreNotLockedOut(t *testing.T) {
	e := engine(t, user("package cowork.access\nimport rego.v1\ndeny := true\n"))
	for _, op := range carrel.OperatorOperations {
		a := carrel.Action{Operation: op, Subject: "x", SubjectDigest: someDigest}
		if op == carrel.OpAttest {
			a.Attestation = &carrel.Attestation{Key: someDigest, Statements: []carrel.Statement{{Type: "https://example.test/v1", Digest: someDigest}}}
		}
		wantVerdict(t, e, a, carrel.Allow, "builtin/allow")
	}
	locked := "package cowork.access\nimport rego.v1\ngoverns := {\"approve\"}\ndeny := true\n"
	if _, err := New(context.Background(), user(locked)); err == nil || !strings.Contains(err.Error(), "only the organisation") {
		t.Errorf("a user's policy that governs approve: %v", err)
	}
	org := user(locked)
	org.Name, org.Kind = "organisation", Organisation
	wantVerdict(t, engine(t, org), approveAction, carrel.Deny, "organisation/deny")
}

// What would be signed is named whole, or not decided at all.
func TestAttestNamesWhatIsSigned(t *testing.T) {
	e := engine(t)
	good := carrel.Attestation{Key: someDigest, Statements: []carrel.Statement{{Type: "https://example.test/v1", Digest: someDigest}}}
	for name, alter := range map[string]func(*carrel.Attestation){
		"no statements":       func(t *carrel.Attestation) { t.Statements = nil },
		"too many statements": func(t *carrel.Attestation) { t.Statements = make([]carrel.Statement, maxStatements+1) },
		"no key":              func(t *carrel.Attestation) { t.Key = "" },
		"no digest":           func(t *carrel.Attestation) { t.Statements[0].Digest = "" },
		"no type":             func(t *carrel.Attestation) { t.Statements[0].Type = "" },
		"a type with spaces":  func(t *carrel.Attestation) { t.Statements[0].Type = "a b" },
	} {
		bad := good
		bad.Statements = append([]carrel.Statement(nil), good.Statements...)
		alter(&bad)
		d := e.Decide(context.Background(), carrel.Action{Operation: carrel.OpAttest, Subject: "chg_x", Attestation: &bad})
		if d.Verdict != carrel.Deny {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func readBundle(t *testing.T) string {
	t.Helper()
	_, files, err := builtinEntries()
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		all.Write(f.Source)
	}
	return all.String()
}

func keysOf[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }
