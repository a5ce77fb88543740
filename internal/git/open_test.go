package git

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/internal/needs"
)

// plain runs git as a user would, without any of the package's guards.
func plain(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := plainResult(dir, args...)
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(out)
}

func plainResult(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(dir, "nohome"), "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// sample is a repository with one commit on branch main.
func sample(t *testing.T, options ...string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	plain(t, dir, append([]string{"init", "-q", "-b", "main"}, options...)...)
	write(t, filepath.Join(dir, "README"), "hello\n")
	write(t, filepath.Join(dir, "dir/file"), "content\n")
	plain(t, dir, "add", ".")
	plain(t, dir, "commit", "-qm", "first")
	return dir
}

func open(t *testing.T, dir string) *Repo {
	t.Helper()
	r, err := Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOpenAgreesWithGit(t *testing.T) {
	second := func(t *testing.T, dir string) string {
		write(t, filepath.Join(dir, "README"), "second\n")
		plain(t, dir, "commit", "-qam", "second")
		return dir
	}
	for name, prepare := range map[string]func(t *testing.T, dir string) string{
		"loose":        func(t *testing.T, dir string) string { return dir },
		"subdirectory": func(t *testing.T, dir string) string { return filepath.Join(dir, "dir") },
		"packed refs": func(t *testing.T, dir string) string {
			plain(t, dir, "pack-refs", "--all")
			return dir
		},
		"packed then loose": func(t *testing.T, dir string) string {
			plain(t, dir, "pack-refs", "--all")
			return second(t, dir)
		},
		"detached": func(t *testing.T, dir string) string {
			plain(t, dir, "checkout", "-q", "--detach")
			return dir
		},
		"branch with slashes": func(t *testing.T, dir string) string {
			plain(t, dir, "checkout", "-q", "-b", "a/b/c")
			return second(t, dir)
		},
		"symbolic branch": func(t *testing.T, dir string) string {
			plain(t, dir, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
			plain(t, dir, "symbolic-ref", "HEAD", "refs/heads/alias")
			return dir
		},
		"HEAD as a link": func(t *testing.T, dir string) string {
			head := filepath.Join(dir, ".git/HEAD")
			if err := errors.Join(os.Remove(head), os.Symlink("refs/heads/main", head)); err != nil {
				t.Fatal(err)
			}
			return dir
		},
		"linked worktree": func(t *testing.T, dir string) string {
			plain(t, dir, "worktree", "add", "-q", "-b", "side", filepath.Join(dir, "../side"))
			return second(t, filepath.Join(dir, "../side"))
		},
		"submodule": func(t *testing.T, dir string) string {
			plain(t, dir, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", sample(t), "sub")
			return filepath.Join(dir, "sub")
		},
		"shallow": func(t *testing.T, dir string) string {
			second(t, dir)
			plain(t, dir, "clone", "-q", "--depth=1", "file://"+dir, filepath.Join(dir, "../shallow"))
			return filepath.Join(dir, "../shallow")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := prepare(t, sample(t))
			r := open(t, dir)
			branch, _ := plainResult(dir, "symbolic-ref", "-q", "--short", "HEAD")
			want := Repo{
				Top: plain(t, dir, "rev-parse", "--show-toplevel"), Dir: plain(t, dir, "rev-parse", "--absolute-git-dir"),
				Common: plain(t, dir, "rev-parse", "--path-format=absolute", "--git-common-dir"),
				Head:   plain(t, dir, "rev-parse", "HEAD"), Branch: strings.TrimSpace(branch),
				Shallow: plain(t, dir, "rev-parse", "--is-shallow-repository") == "true",
			}
			if r.Top != want.Top || r.Dir != want.Dir || r.Common != want.Common || r.Head != want.Head || r.Branch != want.Branch || r.Shallow != want.Shallow {
				t.Errorf("got  %+v\nwant %+v", *r, want)
			}
		})
	}
}

func TestOpenBeforeFirstCommit(t *testing.T) {
	dir := t.TempDir()
	plain(t, dir, "init", "-q", "-b", "trunk")
	if r := open(t, dir); r.Head != "" || r.Branch != "trunk" || r.Format != SHA1 {
		t.Errorf("got %+v", *r)
	}
}

func TestOpenSHA256(t *testing.T) {
	if r := open(t, sample(t, "--object-format=sha256")); r.Format != SHA256 || len(r.Head) != 64 {
		t.Errorf("got %+v", *r)
	}
}

func TestOpenBare(t *testing.T) {
	dir := sample(t)
	plain(t, dir, "clone", "-q", "--bare", dir, filepath.Join(dir, "../bare.git"))
	if r := open(t, filepath.Join(dir, "../bare.git")); !r.Bare || r.Top != "" || r.Head == "" {
		t.Errorf("bare: %+v", *r)
	}
	plain(t, dir, "config", "core.bare", "true")
	if r := open(t, dir); !r.Bare || r.Top != "" {
		t.Errorf("core.bare: %+v", *r)
	}
}

func TestOpenOutsideGit(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(context.Background(), dir); !errors.Is(err, ErrNotRepository) {
		t.Errorf("plain directory: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), dir); !errors.Is(err, ErrNotRepository) {
		t.Errorf("empty .git: %v", err)
	}
}

// A pointer that leads to somebody's repository without a way back must not
// be followed, whatever it points at.
func TestPointersMustProveThemselves(t *testing.T) {
	victim := sample(t)
	for name, plant := range map[string]func(t *testing.T, dir string){
		"to another repository": func(t *testing.T, dir string) { write(t, dir+"/.git", "gitdir: "+victim+"/.git\n") },
		"relative": func(t *testing.T, dir string) {
			rel, _ := filepath.Rel(dir, victim)
			write(t, dir+"/.git", "gitdir: "+rel+"/.git\n")
		},
		"objects behind a link": func(t *testing.T, dir string) {
			plain(t, dir, "init", "-q", ".")
			if err := errors.Join(os.RemoveAll(dir+"/.git/objects"), os.Symlink(victim+"/.git/objects", dir+"/.git/objects")); err != nil {
				t.Fatal(err)
			}
		},
		"to nothing": func(t *testing.T, dir string) { write(t, dir+"/.git", "gitdir: /nonexistent\n") },
		"no pointer": func(t *testing.T, dir string) { write(t, dir+"/.git", "something\n") },
		"symlink":    func(t *testing.T, dir string) { _ = os.Symlink(victim+"/.git", dir+"/.git") },
		"huge":       func(t *testing.T, dir string) { write(t, dir+"/.git", "gitdir: "+strings.Repeat("a", maxSmall)) },
		"worktree of somebody else": func(t *testing.T, dir string) {
			plain(t, victim, "worktree", "add", "-q", "--detach", filepath.Join(dir, "real"))
			b, _ := os.ReadFile(filepath.Join(dir, "real/.git"))
			write(t, dir+"/.git", string(b))
		},
		"worktree whose common directory was redirected": func(t *testing.T, dir string) {
			write(t, dir+"/fake/HEAD", "ref: refs/heads/main\n")
			write(t, dir+"/fake/gitdir", dir+"/.git\n")
			write(t, dir+"/fake/commondir", victim+"/.git\n")
			write(t, dir+"/.git", "gitdir: "+dir+"/fake\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			plant(t, dir)
			if r, err := Open(context.Background(), dir); !errors.Is(err, ErrUnproven) {
				t.Errorf("followed: %+v, %v", r, err)
			}
		})
	}
}

func TestRepositoryOfAnotherOwner(t *testing.T) {
	needs.Root(t)
	dir := sample(t)
	open(t, dir) // the twin: with one owner it opens
	if err := os.Lchown(filepath.Join(dir, ".git"), 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), dir); !errors.Is(err, ErrUnproven) {
		t.Errorf("opened a .git of another owner: %v", err)
	}
}

// A repository that somebody made further up, whole and theirs, is not the
// repository of a directory that is not.
func TestAttackRepositoryPlantedAbove(t *testing.T) {
	needs.Root(t)
	dir := sample(t)
	below := filepath.Join(dir, "dir")
	for owner, want := range map[int]error{12345: nil, 23456: ErrUnproven} {
		if err := errors.Join(os.Lchown(dir, 12345, 12345), os.Lchown(filepath.Join(dir, ".git"), 12345, 12345), os.Lchown(below, owner, owner)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(context.Background(), below); !errors.Is(err, want) {
			t.Errorf("from a directory of %d: %v, want %v", owner, err, want)
		}
	}
}

// HEAD is data: it must not make Carrel read files outside the repository.
func TestHostileHead(t *testing.T) {
	for _, head := range []string{"ref: ../../../etc/passwd", "ref: refs/../../../secret", "ref: refs/heads/link", "/etc/passwd", "ref: refs/heads/loop", "ref: refs/heads/fifo"} {
		dir := sample(t)
		write(t, filepath.Join(dir, "../secret"), strings.Repeat("a", 40))
		_ = os.Symlink(filepath.Join(dir, "../secret"), filepath.Join(dir, ".git/refs/heads/link"))
		write(t, filepath.Join(dir, ".git/refs/heads/loop"), "ref: refs/heads/loop\n")
		_ = exec.Command("mkfifo", filepath.Join(dir, ".git/refs/heads/fifo")).Run()
		write(t, filepath.Join(dir, ".git/HEAD"), head+"\n")
		if r, err := Open(context.Background(), dir); err == nil {
			t.Errorf("%q: opened as %+v", head, *r)
		}
	}
	for _, target := range []string{"/etc/passwd", "../../secret", "refs/../../secret", "refs/heads/link"} {
		dir := sample(t)
		write(t, filepath.Join(dir, "../secret"), strings.Repeat("a", 40))
		head := filepath.Join(dir, ".git/HEAD")
		_ = os.Symlink(filepath.Join(dir, "../secret"), filepath.Join(dir, ".git/refs/heads/link"))
		if err := errors.Join(os.Remove(head), os.Symlink(target, head)); err != nil {
			t.Fatal(err)
		}
		if r, err := Open(context.Background(), dir); err == nil {
			t.Errorf("HEAD as a link to %s: opened as %+v", target, *r)
		}
	}
}

func TestAlternates(t *testing.T) {
	origin := sample(t)
	clone := filepath.Join(origin, "../clone")
	plain(t, origin, "clone", "-q", "--shared", origin, clone)
	loot := filepath.Join(origin, "../loot/objects")
	if err := os.MkdirAll(loot, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(clone, ".git/objects/info/alternates"), filepath.Join(origin, ".git/objects")+"\n"+loot+"\n/etc\n")
	r := open(t, clone)
	if len(r.Alternates) != 1 || r.Alternates[0] != filepath.Join(origin, ".git/objects") || len(r.Unproven) != 2 {
		t.Errorf("alternates %q, unproven %q", r.Alternates, r.Unproven)
	}
	t.Run("of another owner", func(t *testing.T) {
		needs.Root(t)
		if err := os.Lchown(filepath.Join(origin, ".git/objects"), 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if r := open(t, clone); len(r.Alternates) != 0 || len(r.Unproven) != 3 {
			t.Errorf("alternates %q, unproven %q", r.Alternates, r.Unproven)
		}
	})
}

func TestReadFile(t *testing.T) {
	dir := sample(t)
	write(t, filepath.Join(dir, ".carrel/config.yaml"), "egress: []\n")
	if err := os.Symlink("README", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	plain(t, dir, "add", ".")
	plain(t, dir, "commit", "-qm", "configure")
	write(t, filepath.Join(dir, ".carrel/config.yaml"), "egress: everything\n")
	r := open(t, dir)
	if b, err := r.ReadFile(context.Background(), r.Head, ".carrel/config.yaml"); err != nil || string(b) != "egress: []\n" {
		t.Errorf("got %q, %v", b, err)
	}
	for _, path := range []string{"missing", "link", "dir", ".carrel"} {
		if b, err := r.ReadFile(context.Background(), r.Head, path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
	// Before the first commit there is nothing to read.
	if _, err := r.ReadFile(context.Background(), "", "README"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no commit: %v", err)
	}
}

func TestReadFileThroughQuotedPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a:b\"c\\d\ne")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	plain(t, dir, "init", "-q", "-b", "main")
	write(t, filepath.Join(dir, "f"), "x")
	plain(t, dir, "add", ".")
	plain(t, dir, "commit", "-qm", "first")
	r := open(t, dir)
	if b, err := r.ReadFile(context.Background(), r.Head, "f"); err != nil || string(b) != "x" {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestSubmodulesAreRecordedNotEntered(t *testing.T) {
	dir := sample(t)
	plain(t, dir, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", sample(t), "deep/sub")
	plain(t, dir, "commit", "-qm", "add submodule")
	r := open(t, dir)
	all, err := r.All(context.Background(), r.Head)
	if sub := all["deep/sub"]; err != nil || sub.Mode != ModeSubmodule || len(all) != 4 {
		t.Errorf("got %v, %v", all, err)
	}
}

func TestRootCommitIsTheFirst(t *testing.T) {
	dir, ctx := sample(t), context.Background()
	first := open(t, dir).Head
	for range 2 {
		plain(t, dir, "commit", "-q", "--allow-empty", "-m", "more")
	}
	plain(t, dir, "replace", first, open(t, dir).Head)
	if got, err := open(t, dir).RootCommit(ctx); err != nil || got != first {
		t.Errorf("got %s, %v, want %s", got, err, first)
	}
	shallow := filepath.Join(dir, "../shallow")
	plain(t, dir, "clone", "-q", "--depth=1", "file://"+dir, shallow)
	if r := open(t, shallow); !r.Shallow {
		t.Error("the clone is not shallow")
	} else if got, err := r.RootCommit(ctx); err != nil || got != r.Head {
		t.Errorf("shallow: got %s, %v", got, err)
	}
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	if out, err := exec.Command("git", "init", "-q", dir).CombinedOutput(); err != nil {
		b.Fatal(err, string(out))
	}
	for b.Loop() {
		if _, err := Open(context.Background(), dir); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadFile(b *testing.B) {
	dir := b.TempDir()
	for _, args := range [][]string{{"init", "-q", "."}, {"commit", "-q", "--allow-empty", "-m", "x"}} {
		if out, err := plainResult(dir, args...); err != nil {
			b.Fatal(err, out)
		}
	}
	r, err := Open(context.Background(), dir)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := r.ReadFile(context.Background(), r.Head, ".carrel/config.yaml"); !errors.Is(err, os.ErrNotExist) {
			b.Fatal(err)
		}
	}
}
