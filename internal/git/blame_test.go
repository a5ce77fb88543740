package git

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
)

func TestBlame(t *testing.T) {
	dir := sample(t)
	name := "odd \"name\"\té.txt"
	write(t, filepath.Join(dir, name), "one\ntwo\n")
	plain(t, dir, "add", ".")
	plain(t, dir, "commit", "-qm", "first")
	first := open(t, dir).Head
	write(t, filepath.Join(dir, name), "zero\none\ntwo\n")
	plain(t, dir, "commit", "-qam", "second")
	second := open(t, dir).Head
	plain(t, dir, "mv", name, "moved.txt")
	plain(t, dir, "commit", "-qm", "third")
	r := open(t, dir)
	for n, want := range map[int]Line{1: {second, name, 1}, 2: {first, name, 1}, 3: {first, name, 2}} {
		if got, err := r.Blame(context.Background(), Line{r.Head, "moved.txt", n}); err != nil || got != want {
			t.Errorf("line %d: %+v, %v; want %+v", n, got, err, want)
		}
	}
	for _, at := range []Line{{r.Head, "moved.txt", 99}, {r.Head, "nothing", 1}} {
		if got, err := r.Blame(context.Background(), at); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%+v: %+v, %v", at, got, err)
		}
	}
}

// C41: what a repository's settings and attributes would run when git blames
// is not run.
func TestAttackBlameRunsNothing(t *testing.T) {
	h := newHostile(t)
	write(t, h.dir+"/.gitattributes", "* diff=evil filter=evil\n")
	write(t, h.dir+"/f.txt", "one\n")
	plain(t, h.dir, "add", ".")
	plain(t, h.dir, "commit", "-qm", "attributes")
	plain(t, h.dir, "config", "diff.evil.textconv", h.touch)
	plain(t, h.dir, "config", "core.pager", h.touch)
	plain(t, h.dir, "config", "alias.blame", "!"+h.touch)
	r := open(t, h.dir)
	if _, err := r.Blame(context.Background(), Line{r.Head, "f.txt", 1}); err != nil {
		t.Error(err)
	}
	if h.sang() {
		t.Error("the repository's program was run")
	}
	h.plain("", "blame", "f.txt")
	if !h.sang() {
		t.Error("plain git does not run it either: this shows nothing")
	}
}

func FuzzParseBlame(f *testing.F) {
	f.Add("0123456789012345678901234567890123456789 1 1 1\nauthor x\nfilename a/b\n\tfilename c\n")
	f.Add("0123 1 1\nfilename \"\\303\\251\\t\"\n")
	f.Add("x 0 0\nfilename \"\\9\"\n")
	f.Fuzz(func(t *testing.T, out string) {
		if l, err := parseBlame(out); err == nil && (l.Number < 1 || l.Path == "" || l.Commit == "") {
			t.Errorf("%q: %+v", out, l)
		}
	})
}
