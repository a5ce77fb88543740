package git

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const notesRef = "refs/notes/test"

// What is noted here git reads, and the other way round; nothing is lost.
func TestNotesAgreeWithGit(t *testing.T) {
	for _, format := range []string{SHA1, SHA256} {
		t.Run(format, func(t *testing.T) {
			dir := sample(t, "--object-format="+format)
			r, ctx := open(t, dir), context.Background()
			if _, err := r.Note(ctx, notesRef, r.Head); !errors.Is(err, ErrNoNote) {
				t.Errorf("a note that is not there: %v", err)
			}
			plain(t, dir, "notes", "--ref", notesRef, "add", "-m", "from git", r.Head)
			if err := r.AddNote(ctx, notesRef, r.Head, []byte("one\n"), time.Now()); err != nil {
				t.Fatal(err)
			}
			if err := r.AddNote(ctx, notesRef, r.Head, []byte("two\n"), time.Now()); err != nil {
				t.Fatal(err)
			}
			const want = "from git\none\ntwo"
			if got := plain(t, dir, "notes", "--ref", notesRef, "show", r.Head); got != want {
				t.Errorf("git shows %q", got)
			}
			note, err := r.Note(ctx, notesRef, r.Head)
			if err != nil || string(note) != want+"\n" {
				t.Errorf("read as %q, %v", note, err)
			}
			if got := plain(t, dir, "rev-list", "--count", notesRef); got != "3" {
				t.Errorf("%s commits of notes", got)
			}
			plain(t, dir, "fsck", "--strict")
		})
	}
}

// git spreads many notes over directories; each is still found.
func TestNotesOfManyCommits(t *testing.T) {
	dir := sample(t)
	r, ctx := open(t, dir), context.Background()
	var script strings.Builder
	for i := range 400 {
		script.WriteString("commit refs/heads/many\ncommitter A <a@example.com> 1000000000 +0000\ndata 1\nx\n")
		script.WriteString("M 644 inline f\ndata " + "1\n" + string(rune('a'+i%26)) + "\n")
	}
	list := filepath.Join(t.TempDir(), "import")
	if err := os.WriteFile(list, []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	plain(t, dir, "-c", "alias.in=!git fast-import --quiet <"+list, "in")
	commits := strings.Fields(plain(t, dir, "rev-list", "many"))
	p, err := r.pristine()
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	var notes strings.Builder
	notes.WriteString("commit " + notesRef + "\ncommitter A <a@example.com> 1000000000 +0000\ndata 1\nn\n")
	for _, c := range commits {
		notes.WriteString("N inline " + c + "\ndata " + "41\n" + c + "\n\n")
	}
	if err := os.WriteFile(list, []byte(notes.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	plain(t, dir, "-c", "alias.in=!git fast-import --quiet <"+list, "in")
	for _, c := range []string{commits[0], commits[199], commits[399]} {
		if err := r.AddNote(ctx, notesRef, c, []byte("more\n"), time.Now()); err != nil {
			t.Fatal(err)
		}
		if note, err := r.Note(ctx, notesRef, c); err != nil || string(note) != c+"\nmore\n" {
			t.Errorf("%s: %q, %v", c, note, err)
		}
	}
}

func TestNotesAddedAtOnceAreAllThere(t *testing.T) {
	dir := sample(t)
	r := open(t, dir)
	var group sync.WaitGroup
	for _, line := range []string{"a\n", "b\n", "c\n"} {
		group.Go(func() {
			if err := r.AddNote(context.Background(), notesRef, r.Head, []byte(line), time.Now()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	note, err := r.Note(context.Background(), notesRef, r.Head)
	if err != nil || len(note) != 6 {
		t.Errorf("%q, %v", note, err)
	}
}

func TestCommitInfo(t *testing.T) {
	dir := sample(t)
	r, ctx := open(t, dir), context.Background()
	c, err := r.Commit(ctx, "HEAD")
	if err != nil || c.Name != r.Head || c.Tree != plain(t, dir, "rev-parse", "HEAD^{tree}") {
		t.Errorf("%+v, %v", c, err)
	}
	for _, name := range []string{"nothing", "--all", "", "HEAD^{tree}"} {
		if c, err := r.Commit(ctx, name); err == nil {
			t.Errorf("%q is read as %+v", name, c)
		}
	}
}

func TestOriginHasNoSecrets(t *testing.T) {
	dir := sample(t)
	r := open(t, dir)
	if got := r.Origin(); got != "" {
		t.Errorf("no origin: %q", got)
	}
	for url, want := range map[string]string{
		"https://user:token@git.example.test/a/b.git?x=1": "https://git.example.test/a/b.git",
		"https://token@git.example.test/a/b.git":          "https://git.example.test/a/b.git",
		"ssh://git:pw@git.example.test/a/b.git":           "ssh://git@git.example.test/a/b.git",
		"git@git.example.test:a/b.git":                    "git@git.example.test:a/b.git",
		"../other":                                        "../other",
	} {
		plain(t, dir, "config", "remote.origin.url", url)
		if got := r.Origin(); got != want {
			t.Errorf("%s is named %s", url, got)
		}
	}
}
