package review

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// contents is a store in memory.
type contents map[carrel.Digest][]byte

func (c contents) Read(d carrel.Digest, limit int64) ([]byte, error) {
	b, ok := c[d]
	if !ok || int64(len(b)) > limit {
		return nil, errors.New("content is not in the store")
	}
	return b, nil
}

func (c contents) file(content string) carrel.FileState {
	d := carrel.DigestBytes([]byte(content))
	c[d] = []byte(content)
	return carrel.FileState{Kind: carrel.FileRegular, Mode: 0o644, Size: int64(len(content)), Digest: d}
}

var none = carrel.FileState{Kind: carrel.FileNone}

func link(target string) carrel.FileState {
	return carrel.FileState{Kind: carrel.FileLink, Target: carrel.Text(target), Size: int64(len(target)), Digest: carrel.DigestBytes([]byte(target))}
}

func file(path string, change carrel.Alteration, before, after carrel.FileState, labels ...carrel.Label) carrel.FileChange {
	return carrel.FileChange{Path: carrel.Text(path), Change: change, FileState: after, Before: before, Labels: labels, Decision: carrel.Decision{Verdict: carrel.Allow}}
}

func change(files ...carrel.FileChange) *carrel.Change {
	return &carrel.Change{
		Version: 1, ID: carrel.NewChangeID(), Run: carrel.NewRunID(), Workspace: "/home/u/project",
		Base: carrel.Base{Commit: strings.Repeat("a", 40), Branch: "main"}, Taken: time.Unix(1e9, 0), Files: files,
		Risk: carrel.Risk{Level: carrel.SeverityNone, Counts: map[string]int{}},
	}
}

func render(t *testing.T, c *carrel.Change, store contents, o Options) string {
	t.Helper()
	var b strings.Builder
	if err := Render(&b, c, store, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func inOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		i := strings.Index(rest, part)
		if i < 0 {
			t.Fatalf("%q is missing, or not where it should be, in:\n%s", part, text)
		}
		rest = rest[i+len(part):]
	}
}

func TestRenderPutsRiskFirst(t *testing.T) {
	s := contents{}
	c := change(
		file("a.go", carrel.Modified, s.file("one\ntwo\nthree\n"), s.file("one\n2\nthree\n")),
		file("ci.yml", carrel.Created, none, s.file("on: push\n"), carrel.Label{Name: "changes-ci", Severity: carrel.SeverityCritical, Reason: "CI runs it with secrets"}),
		file("gone", carrel.Deleted, s.file("bye\n"), none),
	)
	c.Risk = carrel.Risk{Level: carrel.SeverityCritical, Counts: map[string]int{"changes-ci": 1, "binary": 3}}
	c.Running = true
	c.Message = "Do it\n\nWell."
	held := file("secret", carrel.Created, none, s.file("x"))
	held.Decision = carrel.Decision{Verdict: carrel.Deny, Rules: []string{"user/no-secrets"}, Reason: "secrets stay"}
	c.Withheld = []carrel.FileChange{held}
	text := render(t, c, s, Options{State: "pending", Conflicts: []Conflict{{Path: "a.go", Reason: "you changed it", ThreeWay: true, Base: s.file("one\ntwo\nthree\n"), Ours: s.file("one\nzwei\nthree\n")}}})
	inOrder(t, text, string(c.ID), "pending", "risk       critical: 3 binary, 1 changes-ci", "files      3: 1 created, 1 modified, 1 deleted; 1 more withheld",
		"still working", "| Do it", "Withheld", "A secret", "secrets stay", "user/no-secrets", "Conflicts", "a.go", "you changed it", "yours is:", "-two", "+zwei",
		"Files, the most severe first", "critical A ci.yml", "changes-ci: CI runs it with secrets", "M a.go", "D gone",
		"--- /dev/null", "+++ b/ci.yml", "@@ -0,0 +1 @@", "+on: push", "--- a/a.go", "@@ -1,3 +1,3 @@", " one", "-two", "+2", " three", "+++ /dev/null", "-bye")
	if strings.Contains(text, "\x1b") {
		t.Error("colours where none were asked for")
	}
	if stat := render(t, c, s, Options{Stat: true}); strings.Contains(stat, "@@") || !strings.Contains(stat, "ci.yml") {
		t.Errorf("stat: %s", stat)
	}
}

func TestRenderShowsWhatHasNoLines(t *testing.T) {
	s := contents{}
	executable := s.file("#!/bin/sh\n")
	executable.Mode = 0o755
	setuid := executable
	setuid.Mode = 0o4755
	huge := carrel.FileState{Kind: carrel.FileRegular, Mode: 0o644, Size: 10 << 30, Digest: carrel.DigestBytes([]byte("huge"))}
	unknown := s.file("x")
	unknown.Digest = ""
	c := change(
		file("bin", carrel.Created, none, s.file("\x7fELF\x00")),
		file("exe", carrel.ModeChanged, s.file("#!/bin/sh\n"), executable),
		file("huge", carrel.Created, none, huge),
		file("l", carrel.TypeChanged, s.file("content\n"), link("/etc/passwd")),
		file("lost", carrel.Created, none, carrel.FileState{Kind: carrel.FileRegular, Size: 3, Digest: carrel.DigestBytes([]byte("lost"))}),
		file("moved", carrel.Modified, unknown, s.file("all of it\n")),
		file("new/", carrel.Created, none, carrel.FileState{Kind: carrel.FileDir, Mode: 0o777}),
		file("suid", carrel.Created, none, setuid),
	)
	inOrder(t, render(t, c, s, Options{}),
		"bin (5 bytes)", "binary content, not shown: 5 bytes, sha256:", "mode exe (10 bytes, mode 0644 → 0755)",
		"huge (10240 MiB)", "not shown: 10240 MiB are more than", "type l (link to /etc/passwd, was a file)", "-content", "+link to /etc/passwd",
		"lost", "content is not shown: content is not in the store", "moved", "what was there before is not shown (it is not known)", "+all of it",
		"new/ (directory, mode 0777)", "suid (10 bytes, mode 4755)")
}

// What is kept back says why once, and what else is known of it.
func TestWithheldFileSaysItsReasonOnce(t *testing.T) {
	s := contents{}
	held := file("pipe", carrel.Created, none, s.file("x"),
		carrel.Label{Name: "special-file", Severity: carrel.SeverityHigh, Reason: "it is a FIFO"},
		carrel.Label{Name: "special", Severity: carrel.SeverityHigh, Reason: "it is a FIFO; it was not opened"},
		carrel.Label{Name: "changes-ci", Severity: carrel.SeverityCritical, Reason: "CI runs it"})
	held.Decision = carrel.Decision{Verdict: carrel.Deny, Rules: []string{"workspace/special"}, Reason: "it is a FIFO; it was not opened"}
	c := change()
	c.Withheld = []carrel.FileChange{held}
	text := render(t, c, s, Options{})
	if strings.Count(text, "it is a FIFO") != 1 || !strings.Contains(text, "changes-ci: CI runs it") {
		t.Error(text)
	}
	if len(c.Withheld[0].Labels) != 3 || c.Withheld[0].Labels[0].Name != "special-file" {
		t.Errorf("the change itself was altered: %+v", c.Withheld[0].Labels)
	}
}

// Nothing that an agent wrote may reach the terminal as anything but text
// (C56): in names, contents, targets, messages, reasons, branch names.
func TestNothingFromTheDeskIsRaw(t *testing.T) {
	evil := []string{"\x1b]52;c;ZXZpbA==\x07", "\x1b[2J\x1b[H", "\r", "\x9b31m", "\u202e", "\u2066", "\u200b", "\ufeff", "\b\b\b", "\x1b]8;;http://evil\x07", "\u2028", "\x85", "\xff\xfe", "\U000e0041"}
	for _, e := range evil {
		s := contents{}
		nasty := "left" + e + "right"
		f := file("dir/"+nasty, carrel.Modified, s.file("old"+nasty+"\n"), s.file("new"+nasty+"\n"+nasty), carrel.Label{Name: "label" + nasty, Severity: carrel.SeverityHigh, Reason: nasty})
		f.Decision = carrel.Decision{Verdict: carrel.Ask, Reason: nasty, Rules: []string{nasty}}
		c := change(f, file(nasty, carrel.Created, none, link(nasty)))
		c.Message, c.Workspace, c.Base.Branch = carrel.Text(nasty), carrel.Text(nasty), nasty
		c.Base.Commit = strings.ToValidUTF8(nasty, "?")
		c.Risk.Counts = map[string]int{nasty: 1}
		c.Withheld = []carrel.FileChange{f}
		o := Options{Conflicts: []Conflict{{Path: carrel.Text(nasty), Reason: nasty, ThreeWay: true, Base: s.file(nasty), Ours: s.file(nasty + nasty)}}}
		text := render(t, c, s, o)
		if strings.Contains(text, e) {
			t.Errorf("%q is shown raw in:\n%q", e, text)
		}
		for _, r := range text {
			if terminal.Hidden(r) && r != '\n' && r != '\t' {
				t.Errorf("with %q: %U is shown raw", e, r)
			}
		}
		if strings.Contains(text, "leftright") {
			t.Errorf("with %q: it vanished", e)
		}
		doc, err := JSON(c, "pending")
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range string(terminal.EscapeJSON(raw)) {
			if terminal.Hidden(r) {
				t.Errorf("with %q: JSON holds %U raw", e, r)
			}
		}
	}
}

// A carriage return or a very long line must not hide what is on it.
func TestLinesCannotHide(t *testing.T) {
	s := contents{}
	long := strings.Repeat(" ", 5000) + "rm -rf /"
	c := change(file("f", carrel.Created, none, s.file("harmless()\revil()\n"+long+"\n"+strings.Repeat("ä", 900)+"\n")))
	text := render(t, c, s, Options{})
	inOrder(t, text, `+harmless()\x0devil()`, "[… 4008 more bytes on this line are not shown]", "[… 800 more bytes on this line are not shown]")
	for line := range strings.Lines(text) {
		if len(line) > maxShown+200 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

// Content cannot imitate Carrel's own lines: every line of it begins with the
// sign of a difference (C58).
func TestContentCannotImitateTheReview(t *testing.T) {
	s := contents{}
	fake := "--- a/other\n+++ b/other\n@@ -1 +1 @@\ndiff --git a/x b/.git/hooks/x\nnew mode 160000\nFiles, the most severe first\n[… 5 more bytes"
	c := change(file("f", carrel.Created, none, s.file(fake)), file("a\nFiles, the most severe first\n  none A ok", carrel.Created, none, s.file("x\n")))
	c.Message = carrel.Text("Files, the most severe first\n  risk       none")
	own := 0
	for line := range strings.Lines(render(t, c, s, Options{})) {
		if strings.HasPrefix(line, "Files, the most severe first") || strings.HasPrefix(line, "  risk ") {
			own++
		}
		if strings.HasPrefix(line, "diff --git") || strings.HasPrefix(line, "new mode") || strings.HasPrefix(line, "[…") {
			t.Errorf("content at the start of a line: %q", line)
		}
	}
	if own != 2 {
		t.Errorf("%d lines look like Carrel's headings, want 2", own)
	}
}

// A message as long as a capture leaves it is shown to its end.
func TestMessageIsShownWhole(t *testing.T) {
	c := change()
	c.Message = carrel.Text(strings.Repeat(strings.Repeat("x", 904)+"\n", 99) + "the end")
	if text := render(t, c, contents{}, Options{}); !strings.Contains(text, "| the end") || strings.Contains(text, "not shown") {
		t.Error("the message is cut")
	}
}

func TestReviewIsBounded(t *testing.T) {
	s := contents{}
	var many strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&many, "%d\n", i)
	}
	half := many.String()[many.Len()/2:]
	c := change(file("all", carrel.Created, none, s.file(many.String())), file("part", carrel.Modified, s.file(many.String()), s.file(half+many.String()[:many.Len()/2])))
	c.Message = carrel.Text(strings.Repeat("line\n", 1000))
	start := time.Now()
	text := render(t, c, s, Options{})
	if n := strings.Count(text, "\n"); n > 2*maxLines+200 {
		t.Errorf("%d lines", n)
	}
	inOrder(t, text, "900 more lines of it are not shown", "more than 3000 lines; the rest", "more than 3000 lines; the rest")
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

// What is shown is a patch that another program can read: applied to the old
// content it gives the new one.
func TestDiffIsAPatch(t *testing.T) {
	texts := []string{"", "a\n", "a", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n", "a\nB\nc\nd\ne\nf\ng\nh\nI\nj", "x\na\nb\n", "a\na\na\na\n", "b\na\n", "\n\n\n", "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n", "1\n2\n3\n5\n6\n7\n8\n9\n10\n11\n12\nx\n13\n14\n15\n16\n17\n"}
	for _, was := range texts {
		for _, now := range texts {
			if was == now {
				continue
			}
			s, dir := contents{}, t.TempDir()
			var b strings.Builder
			f := file("f", carrel.Modified, s.file(was), s.file(now))
			p := &page{bufio.NewWriter(&b), style{}}
			p.diff(&f, s)
			p.out.Flush()
			patch := regexp.MustCompile(`(?m)^\\ no newline at the end of the file$`).ReplaceAllString(b.String(), `\ No newline at end of file`)
			path := filepath.Join(dir, "f")
			if err := os.WriteFile(path, []byte(was), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("git", "apply", "--unidiff-zero", "-")
			cmd.Dir, cmd.Stdin = dir, strings.NewReader(patch[strings.Index(patch, "\n")+1:])
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%q to %q: %v %s\n%s", was, now, err, out, patch)
				continue
			}
			if got, _ := os.ReadFile(path); string(got) != now {
				t.Errorf("%q to %q: got %q from\n%s", was, now, got, patch)
			}
		}
	}
}

func TestJSONHasTheFieldsThatWerePromised(t *testing.T) {
	s := contents{}
	c := change(file("a", carrel.Created, none, s.file("x"), carrel.Label{Name: "l", Severity: carrel.SeverityLow, Reason: "r"}))
	c.Files[0].Decision = carrel.Decision{}
	doc, err := JSON(c, "pending")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := c.Digest()
	want := fmt.Sprintf(`{"run":%q,"change":%q,"digest":%q,"state":"pending","risk":{"level":"none","counts":{}},"files":[{"path":"a","change":"create","kind":"file","mode":420,"size":1,"digest":%q,"decision":{"verdict":"deny","rules":[],"reason":""},"labels":[{"name":"l","severity":"low","reason":"r"}]}],"withheld":[]}`,
		c.Run, c.ID, digest, carrel.DigestBytes([]byte("x")))
	if string(raw) != want {
		t.Errorf("got  %s\nwant %s", raw, want)
	}
}

func TestColoursAreCarrelsOwn(t *testing.T) {
	s := contents{}
	text := render(t, change(file("f", carrel.Modified, s.file("a\n"), s.file("b\n"))), s, Options{Color: true})
	inOrder(t, text, "\x1b[31m-a\x1b[0m", "\x1b[32m+b\x1b[0m")
}
