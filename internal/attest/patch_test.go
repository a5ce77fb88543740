package attest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
)

// kept is a content store in memory.
type kept map[carrel.Digest][]byte

func (k kept) Read(d carrel.Digest, limit int64) ([]byte, error) {
	b, ok := k[d]
	if !ok || int64(len(b)) > limit {
		return nil, errors.New("not there")
	}
	return b, nil
}

func (k kept) file(content string, mode uint32) carrel.FileState {
	d := carrel.DigestBytes([]byte(content))
	k[d] = []byte(content)
	return carrel.FileState{Kind: carrel.FileRegular, Mode: mode, Size: int64(len(content)), Digest: d}
}

func link(target string) carrel.FileState {
	return carrel.FileState{Kind: carrel.FileLink, Target: carrel.Text(target)}
}

var none = carrel.FileState{Kind: carrel.FileNone}

// lay writes one side of a change into a directory.
func lay(t *testing.T, k kept, dir string, files map[string]carrel.FileState) {
	t.Helper()
	for path, s := range files {
		full := filepath.Join(dir, path)
		if s.Kind == carrel.FileNone {
			continue
		}
		err := os.MkdirAll(filepath.Dir(full), 0o755)
		if s.Kind == carrel.FileLink {
			err = errors.Join(err, os.Symlink(string(s.Target), full))
		} else {
			err = errors.Join(err, os.WriteFile(full, k[s.Digest], os.FileMode(s.Mode)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// What git makes of the patch is what the change says, byte for byte.
func TestGitAppliesThePatch(t *testing.T) {
	k := kept{}
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	long := strings.Repeat("a line\n", 200_000) // over what is compared line by line
	cases := map[string][2]carrel.FileState{
		"new.txt":                {none, k.file("hello\n", 0o644)},
		"empty":                  {none, k.file("", 0o644)},
		"gone.txt":               {k.file("bye\n", 0o644), none},
		"gone-empty":             {k.file("", 0o644), none},
		"dir/changed.go":         {k.file("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n", 0o644), k.file("0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\nelf\n12", 0o644)},
		"no-newline":             {k.file("a", 0o644), k.file("b", 0o644)},
		"mode-only":              {k.file("#!/bin/sh\n", 0o644), k.file("#!/bin/sh\n", 0o755)},
		"mode-and-content":       {k.file("#!/bin/sh\n", 0o644), k.file("#!/bin/bash\n", 0o755)},
		"link":                   {none, link("new.txt")},
		"link-moved":             {link("a"), link("b/c")},
		"file-becomes-link":      {k.file("x\n", 0o644), link("y")},
		"link-becomes-file":      {link("y"), k.file("x\n", 0o755)},
		"noise.bin":              {none, k.file(string(noise), 0o644)},
		"noise-changed.bin":      {k.file(string(noise), 0o644), k.file(string(noise[:4000])+"\x00", 0o644)},
		"long":                   {k.file(long, 0o644), k.file(long+"more\n", 0o644)},
		"with space":             {none, k.file("x\n", 0o644)},
		"quote\"d\\and\ttab":     {none, k.file("x\n", 0o644)},
		"umlaut-ä":               {k.file("x\n", 0o644), k.file("y\n", 0o644)},
		"crlf.txt":               {k.file("a\r\nb\r\n", 0o644), k.file("a\r\nc\r\n", 0o644)},
		"looks/like/--- a/patch": {k.file("--- a/x\n+++ b/x\n@@ -1 +1 @@\n", 0o644), k.file("--- a/x\n+++ b/y\n@@ -1 +1 @@\n", 0o644)},
	}
	c := &carrel.Change{Files: []carrel.FileChange{{Path: "a-directory", Change: carrel.Created, FileState: carrel.FileState{Kind: carrel.FileDir}, Before: none}}}
	before, after := map[string]carrel.FileState{}, map[string]carrel.FileState{}
	for path, sides := range cases {
		before[path], after[path] = sides[0], sides[1]
		c.Files = append(c.Files, carrel.FileChange{Path: carrel.Text(path), Before: sides[0], FileState: sides[1]})
	}
	text, err := Patch(c, k)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Patch(c, k)
	if err != nil || !bytes.Equal(text, again) {
		t.Error("the same change gave two patches")
	}
	dir, want := t.TempDir(), t.TempDir()
	lay(t, k, dir, before)
	lay(t, k, want, after)
	cmd := exec.Command("git", "apply", "--whitespace=nowarn", "-")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git apply: %v\n%s", err, out)
	}
	diff := exec.Command("diff", "-r", "--no-dereference", want, dir)
	if out, err := diff.CombinedOutput(); err != nil {
		t.Errorf("git made something else of the patch: %s", out)
	}
	if info, err := os.Stat(filepath.Join(dir, "mode-only")); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("the mode was not applied: %v", err)
	}
}

// What is not known is said, and never made up.
func TestPatchNamesWhatItCannotCarry(t *testing.T) {
	k := kept{}
	unknown := carrel.FileState{Kind: carrel.FileRegular, Mode: 0o644, Size: 7}
	huge := carrel.FileState{Kind: carrel.FileRegular, Mode: 0o644, Size: maxLiteral + 1, Digest: carrel.DigestBytes([]byte("x"))}
	text, err := Patch(&carrel.Change{Files: []carrel.FileChange{
		{Path: "was-not-known", Before: unknown, FileState: k.file("x\n", 0o644)},
		{Path: "huge", Before: none, FileState: huge},
	}}, k)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Binary files a/was-not-known and b/was-not-known differ\n",
		"new file mode 100644\nBinary files /dev/null and b/huge differ\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the patch lacks %q:\n%s", want, text)
		}
	}
}
