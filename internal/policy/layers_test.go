package policy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
)

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
