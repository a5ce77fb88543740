package git

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
)

// git itself is the oracle: whatever the attributes and the content, the
// blob must be the one that git add makes.
func TestCleanAgreesWithGitAdd(t *testing.T) {
	contents := []string{
		"", "a\n", "a\r\n", "a\r\nb\nc\r\n", "a\rb\r\n", "a\r", "\r\n", "a\x00\r\n", "a\x1a\r\nb\x1a", "x\r\n\x1a", "a\r\r\n",
		strings.Repeat("x", 300) + "\x01\r\n", "\x01\x02\x03\r\n", "\x7f\r\n" + strings.Repeat("y", 127), "\x1b\b\f\t\r\n", "ü\r\n",
	}
	attributes := []string{"text", "-text", "text=auto", "eol=lf", "eol=crlf", "text=auto eol=crlf", "-text eol=crlf", "crlf", "-crlf", "crlf=input", "crlf=auto", "diff", "text=input"}
	for _, base := range []string{"", "plain\n", "dos\r\n", "dos\r\n\x00"} {
		dir := t.TempDir()
		plain(t, dir, "init", "-q", "-b", "main")
		var rules strings.Builder
		for i, a := range attributes {
			for j := range contents {
				name := string(rune('a'+i)) + string(rune('a'+j))
				rules.WriteString(name + " " + a + "\n")
				if base != "" { // committed before the attributes applied
					write(t, filepath.Join(dir, name), base)
				}
			}
		}
		write(t, filepath.Join(dir, "README"), "x")
		plain(t, dir, "add", ".")
		plain(t, dir, "commit", "-qm", "contents")
		write(t, filepath.Join(dir, ".gitattributes"), rules.String())
		plain(t, dir, "add", ".gitattributes")
		plain(t, dir, "commit", "-qm", "attributes")
		r := open(t, dir)
		d := draft(t, r, r.Head)
		var paths []string
		for i := range attributes {
			for j, content := range contents {
				name := string(rune('a'+i)) + string(rune('a'+j))
				paths = append(paths, name)
				write(t, filepath.Join(dir, name), content)
			}
		}
		plain(t, dir, "-c", "core.safecrlf=false", "add", ".")
		added := index(t, dir)
		attrs, err := d.Attributes(context.Background(), paths)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range attributes {
			for j, content := range contents {
				name := string(rune('a'+i)) + string(rune('a'+j))
				got, err := attrs[name].Clean([]byte(content), func() ([]byte, error) { return []byte(base), nil })
				if err != nil {
					t.Fatal(err)
				}
				_, object, err := Sum(bytes.NewReader(got), int64(len(got)), r.Head)
				if err != nil || object != added[name] {
					t.Errorf("base %q, %s, %q: got %q, and git something else (%v)", base, a, content, got, err)
				}
			}
		}
	}
}

// index lists the objects of a repository's index by path.
func index(t *testing.T, dir string) map[string]string {
	t.Helper()
	objects := make(map[string]string)
	for row := range strings.SplitSeq(plain(t, dir, "ls-files", "-s"), "\n") {
		meta, path, _ := strings.Cut(row, "\t")
		objects[path] = strings.Fields(meta)[1]
	}
	return objects
}
