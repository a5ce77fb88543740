package policy

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

func TestFoldPath(t *testing.T) {
	for path, want := range map[string]string{
		"/workspace/a/b.go":             "workspace a b.go",
		"/":                             "",
		"/workspace/.GIT/x":             "workspace .git x",
		"/workspace/.git./x":            "workspace .git x",
		"/workspace/.git /x":            "workspace .git x",
		"/workspace/.git. . /x":         "workspace .git x",
		"/workspace/.git::$DATA":        "workspace .git",
		"/workspace/.git:x:y/z":         "workspace .git z",
		"/workspace/.g\u200cit/x":       "workspace .git x",
		"/workspace/\ufeff.git":         "workspace .git",
		"/workspace/a\\.Git\\x":         "workspace a .git x",
		"/workspace/.\u017fsh/\u212aey": "workspace .ssh key",
		"/workspace/\u00c9":             "workspace \u00e9",
		"/workspace/...":                "workspace ",
	} {
		parts := foldPath(path)
		segments := slices.DeleteFunc(slices.Clone(parts), func(p string) bool { return strings.Contains(p, "/") })
		if got := strings.Join(segments, " "); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
	if got := foldPath("/a/.GitHub/Workflows/x"); !slices.Contains(got, ".github/workflows") {
		t.Errorf("%q", got)
	}
}

// FuzzInput: whatever comes, the input is canonical, the digest is of it, and
// the floor's view of a path never has an upper-case letter or a separator.
func FuzzInput(f *testing.F) {
	f.Add("/workspace/.GIT::$DATA/x", "a\xff", "api.example.com", 443)
	f.Add("/workspace/\U0001f600\ue000", "\u2028<>&", "10.0.0.1", 0)
	f.Fuzz(func(t *testing.T, path, text, host string, port int) {
		for _, a := range []carrel.Action{
			{Operation: carrel.OpWrite, Path: path, RawPath: carrel.Text(text), Agent: "x"},
			{Operation: carrel.OpExec, Argv: []carrel.Text{"x", carrel.Text(text)}, Cwd: carrel.Text(path)},
			{Operation: carrel.OpRequest, Host: host, Port: port, Protocol: carrel.ProtoTLS, Method: "GET", URL: "/" + carrel.Text(text)},
		} {
			in, err := newInput(a)
			if err != nil {
				continue
			}
			shown := in.json
			again, err := carrel.Canonicalize(shown)
			if err != nil || !bytes.Equal(again, shown) {
				t.Errorf("%s is not canonical: %s, %v", shown, again, err)
			}
			if in.digest != carrel.DigestBytes(shown) {
				t.Error("the digest is of something else")
			}
			if v, err := ast.ValueFromReader(bytes.NewReader(shown)); err != nil || v.Compare(in.value.Value) != 0 {
				t.Errorf("the policy sees %v, the record says %v (%v)", in.value, v, err)
			}
		}
	})
}

// TestDocumentNamesEveryField holds spec/policy-input.md to the input.
func TestDocumentNamesEveryField(t *testing.T) {
	text, err := os.ReadFile("../../spec/policy-input.md")
	if err != nil {
		t.Fatal(err)
	}
	file := write("/workspace/a")
	file.File = &carrel.FileChange{Path: "a", Labels: []carrel.Label{{Name: "x", Severity: carrel.SeverityLow}}}
	request := carrel.Action{Operation: carrel.OpRequest, Host: "a", Port: 1, Protocol: carrel.ProtoTLS, Method: "GET", URL: "/"}
	approve := approveAction.Clone()
	approve.Reason = "x"
	for _, a := range []carrel.Action{file, execAction, request, publishAction(true, carrel.SeverityLow), approve} {
		in, err := newInput(a)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range in.value.Value.(ast.Object).Keys() {
			name := string(key.Value.(ast.String))
			if !bytes.Contains(text, []byte("`"+name)) {
				t.Errorf("%s: %s is not documented", a.Operation, name)
			}
		}
	}
}

// TestDocumentExample: the example of spec/policy-input.md does what it says.
func TestDocumentExample(t *testing.T) {
	text, err := os.ReadFile("../../spec/policy-input.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```rego\n")
	source, _, _ := strings.Cut(rest, "```")
	e := engine(t, user(source))
	wantVersion(t, e, "v1")
	wantVerdict(t, e, inside, carrel.Allow, "user/allow")
	wantVerdict(t, e, execAction, carrel.Allow, "user/allow")
	wantVerdict(t, e, carrel.Action{Operation: carrel.OpExec, Argv: []carrel.Text{"curl", "x"}}, carrel.Deny, "user/no-curl")
	wantVerdict(t, e, write("/workspace/migrations/a.sql"), carrel.Ask, "user/ask")
	wantVerdict(t, e, carrel.Action{Operation: carrel.OpRead, Path: "/workspace/a"}, carrel.Allow, "builtin/allow")
}
