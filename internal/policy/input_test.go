package policy

import (
	"bytes"
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
			shown := []byte(in.String())
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
