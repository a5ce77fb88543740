package git

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/internal/needs"
)

func content(path, mode, s string) File { return sized(path, mode, s, int64(len(s))) }

func sized(path, mode, s string, size int64) File {
	return File{Path: path, Mode: mode, Open: func() (io.ReadCloser, int64, error) {
		return io.NopCloser(strings.NewReader(s)), size, nil
	}}
}

var ada = Identity{Name: "Ada", Email: "ada@example.com"}

func draft(t *testing.T, r *Repo, base string) *Draft {
	t.Helper()
	d, err := r.Draft(context.Background(), base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestDraftBecomesABranch(t *testing.T) {
	for _, format := range []string{SHA1, SHA256} {
		t.Run(format, func(t *testing.T) {
			dir := sample(t, "--object-format="+format)
			write(t, filepath.Join(dir, "old/a"), "a")
			write(t, filepath.Join(dir, "old/b"), "b")
			plain(t, dir, "add", ".")
			plain(t, dir, "commit", "-qm", "second")
			r, ctx := open(t, dir), context.Background()
			d := draft(t, r, r.Head)
			odd := "odd \"name\"\n\x01\xff\\"
			c, err := d.Commit(ctx, []File{
				content("README", ModeFile, "changed\n"), content("link", ModeLink, "README"),
				content("new/deep/run", ModeExecutable, "#!/bin/sh\n"), content(odd, ModeFile, "odd"),
				{Path: "dir/file"}, {Path: "old/a"}, {Path: "old/b"}, content("old", ModeFile, "now a file"),
			}, "Subject\n\nBody\n", ada, time.Unix(1e9, 0).In(time.FixedZone("", 7200)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := plainResult(dir, "cat-file", "-e", c.Name); err == nil {
				t.Error("the commit is in the repository before it was published")
			}
			if err := d.Publish(ctx, "carrel/work", c, ada); err != nil {
				t.Fatal(err)
			}
			if got := plain(t, dir, "log", "-1", "--format=%H %P %T %an %ae %cn %ad %s|%b", "--date=raw", "carrel/work"); got != c.Name+" "+r.Head+" "+c.Tree+" Ada ada@example.com Ada 1000000000 +0200 Subject|Body" {
				t.Errorf("log: %s", got)
			}
			plain(t, dir, "fsck", "--strict")
			if got := plain(t, dir, "ls-tree", "-rz", "--name-only", "carrel/work"); got != "README\x00link\x00new/deep/run\x00"+odd+"\x00old\x00" {
				t.Errorf("tree: %q", got)
			}
			if got := plain(t, dir, "status", "--porcelain"); got != "" {
				t.Errorf("the working tree was touched: %s", got)
			}
			if err := d.Publish(ctx, "carrel/work", c, ada); !errors.Is(err, ErrBranchExists) {
				t.Errorf("an existing branch: %v", err)
			}
		})
	}
}

func TestRootCommit(t *testing.T) {
	dir := t.TempDir()
	plain(t, dir, "init", "-q", "-b", "main")
	r, ctx := open(t, dir), context.Background()
	d := draft(t, r, "")
	c, err := d.Commit(ctx, []File{content("a", ModeFile, "a")}, "first\n", ada, time.Now())
	if err == nil {
		err = d.Publish(ctx, "first", c, ada)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := plain(t, dir, "log", "--format=%s", "first"); got != "first" {
		t.Errorf("got %q", got)
	}
}

func TestShallowAndDetachedDrafts(t *testing.T) {
	origin := sample(t)
	write(t, filepath.Join(origin, "README"), "second\n")
	plain(t, origin, "commit", "-qam", "second")
	dir := filepath.Join(origin, "../shallow")
	plain(t, origin, "clone", "-q", "--depth=1", "file://"+origin, dir)
	plain(t, dir, "checkout", "-q", "--detach")
	r, ctx := open(t, dir), context.Background()
	d := draft(t, r, r.Head)
	c, err := d.Commit(ctx, []File{content("a", ModeFile, "a")}, "more\n", ada, time.Now())
	if err == nil {
		err = d.Publish(ctx, "more", c, ada)
	}
	if err != nil {
		t.Fatal(err)
	}
	plain(t, dir, "fsck")
}

// What was built must be what was asked for: a path that git would put
// elsewhere, or twice, is an error and not a surprise.
func TestCommitIsCompared(t *testing.T) {
	r := open(t, sample(t))
	ctx := context.Background()
	for name, files := range map[string][]File{
		"file below a file":    {content("x", ModeFile, "1"), content("x/y", ModeFile, "2")},
		"content cut short":    {sized("x", ModeFile, "12", 5)},
		"content too long":     {sized("x", ModeFile, "12", 1)},
		"content unreadable":   {{Path: "x", Mode: ModeFile, Open: func() (io.ReadCloser, int64, error) { return nil, 0, errors.New("gone") }}},
		"path into .git":       {content(".git/hooks/x", ModeFile, "1")},
		"path into .Git":       {content("a/.Git/x", ModeFile, "1")},
		"path into git~1":      {content("git~1/x", ModeFile, "1")},
		"path into .g\u200cit": {content(".g\u200cit/x", ModeFile, "1")},
		"path out of the tree": {content("../x", ModeFile, "1")},
	} {
		if c, err := draft(t, r, r.Head).Commit(ctx, files, "m\n", ada, time.Now()); err == nil {
			t.Errorf("%s: built %+v", name, c)
		}
	}
}

// The owner of a repository gets nothing written by root where the owner could
// not: a link out of the objects is not followed.
func TestAttackObjectsThatLeadElsewhere(t *testing.T) {
	needs.Root(t)
	const owner = 12345
	for name, plant := range map[string]func(objects, victim string) error{
		"packs": func(objects, victim string) error {
			dir := filepath.Join(objects, "pack")
			return errors.Join(os.RemoveAll(dir), os.Symlink(victim, dir), os.Lchown(dir, owner, owner))
		},
		"all of them": func(objects, victim string) error {
			if err := exec.Command("cp", "-a", objects+"/.", victim).Run(); err != nil {
				return err
			}
			return errors.Join(os.RemoveAll(objects), os.Symlink(victim, objects), os.Lchown(objects, owner, owner), os.Lchown(victim, 0, 0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := sample(t)
			if out, err := exec.Command("chown", "-R", "12345:12345", dir).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
				t.Fatal(err)
			}
			r, ctx := open(t, dir), context.Background()
			d := draft(t, r, r.Head)
			c, err := d.Commit(ctx, []File{content("README", ModeFile, "changed\n")}, "Subject", ada, time.Unix(1e9, 0))
			if err != nil {
				t.Fatal(err)
			}
			victim := t.TempDir()
			if err := plant(filepath.Join(dir, ".git/objects"), victim); err != nil {
				t.Fatal(err)
			}
			before := everything(t, victim)
			if err := d.Publish(ctx, "carrel/work", c, ada); err == nil {
				t.Error("published")
			}
			if after := everything(t, victim); !slices.Equal(after, before) {
				t.Errorf("written elsewhere: %q", after)
			}
		})
	}
}

func everything(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error { all = append(all, path); return err })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestCheckBranch(t *testing.T) {
	r := open(t, sample(t))
	for _, name := range []string{"", "-x", "a..b", "a b", "HEAD", "@{-1}", "a.lock", "/a", "a/", "a~1", "refs/heads/a", "main", "a\nb"} {
		if err := r.CheckBranch(context.Background(), name); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
	for _, name := range []string{"carrel/work", "ünïcode", "x"} {
		if err := r.CheckBranch(context.Background(), name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAttributesComeFromTheBase(t *testing.T) {
	dir := sample(t)
	write(t, filepath.Join(dir, ".gitattributes"), "*.txt text eol=crlf\n*.bin -text\n*.psd filter=lfs diff=lfs merge=lfs -text\n*.u16 working-tree-encoding=UTF-16\n*.id ident\n*.old crlf\n")
	write(t, filepath.Join(dir, "sub/.gitattributes"), "*.txt text=auto !eol\n")
	plain(t, dir, "add", ".")
	plain(t, dir, "commit", "-qm", "attributes")
	write(t, filepath.Join(dir, ".gitattributes"), "* -text\n")
	write(t, filepath.Join(dir, ".git/info/attributes"), "* filter=evil\n")
	r := open(t, dir)
	got, err := draft(t, r, r.Head).Attributes(context.Background(), []string{"a.txt", "a.bin", "a.psd", "a.u16", "a.id", "a.old", "sub/a.txt", "none"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Attributes{
		"a.txt": {Text: "set", EOL: "crlf"}, "a.bin": {Text: "unset"}, "a.psd": {Text: "unset", Filter: "lfs"},
		"a.u16": {Encoding: "UTF-16"}, "a.id": {Ident: true}, "a.old": {Text: "set"}, "sub/a.txt": {Text: "auto"},
	}
	if len(got) != len(want) {
		t.Errorf("got %+v", got)
	}
	for path, w := range want {
		if got[path] != w {
			t.Errorf("%s: got %+v, want %+v", path, got[path], w)
		}
	}
}

func TestIgnored(t *testing.T) {
	dir := sample(t)
	write(t, filepath.Join(dir, ".gitignore"), "*.log\n/dir/\n")
	plain(t, dir, "add", ".")
	plain(t, dir, "commit", "-qm", "ignore")
	write(t, filepath.Join(dir, ".gitignore"), "*\n")          // the tree's own rules do not count
	write(t, filepath.Join(dir, ".git/info/exclude"), "*.c\n") // nor a hostile repository's
	r, ctx := open(t, dir), context.Background()
	paths := []string{"a.log", "deep/a.log", "dir/file", "dir/other", "a.c", "node_modules/x/y", "new/z.tmp"}
	check := func(rules map[string][]byte, want ...string) {
		t.Helper()
		got, err := draft(t, r, r.Head).Ignored(ctx, paths, rules)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			if w := strings.Contains(" "+strings.Join(want, " ")+" ", " "+p+" "); got[p] != w {
				t.Errorf("%s: ignored %t, want %t", p, got[p], w)
			}
		}
	}
	check(nil, "a.log", "deep/a.log", "dir/other") // dir/file is tracked
	check(map[string][]byte{".gitignore": nil})
	check(map[string][]byte{".gitignore": []byte("node_modules/\n"), "new/.gitignore": []byte("*.tmp\n")}, "node_modules/x/y", "new/z.tmp")
}

func home(t *testing.T, config string) (string, []string) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, ".gitconfig"), config)
	return dir, []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "SECRET=x", "GIT_AUTHOR_NAME=Evil"}
}

// The agent, or a repository, may say that it is somebody else: only the host
// user's own settings count.
func TestIdentityIsTheHostUsers(t *testing.T) {
	dir := sample(t)
	plain(t, dir, "config", "user.name", "Maintainer")
	plain(t, dir, "config", "user.email", "maintainer@example.com")
	plain(t, dir, "config", "commit.gpgsign", "true")
	plain(t, dir, "config", "gpg.program", "/bin/evil")
	_, env := home(t, "[user]\n\tname = Grace <x>\n\temail = grace@example.com\n[includeIf \"gitdir:"+dir+"/\"]\n\tpath = work\n")
	id, err := open(t, dir).Identity(context.Background(), env)
	if err != nil {
		t.Fatal(err)
	}
	if id.Name != "Grace x" || id.Email != "grace@example.com" || id.Sign || id.settings["gpg.program"] != "" || len(id.env) != 2 {
		t.Errorf("got %+v", id)
	}
	h, env := home(t, "[user]\n\tname = Grace\n[includeIf \"gitdir:"+dir+"/\"]\n\tpath = work\n")
	write(t, filepath.Join(h, "work"), "[user]\n\temail = grace@work.example\n")
	if id, err := open(t, dir).Identity(context.Background(), env); err != nil || id.Email != "grace@work.example" {
		t.Errorf("conditional include: %+v, %v", id, err)
	}
	_, env = home(t, "")
	if _, err := open(t, dir).Identity(context.Background(), env); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("no identity: %v", err)
	}
}

func TestCommitIsSignedIfTheUserSigns(t *testing.T) {
	needs.Tool(t, "ssh-keygen")
	h := t.TempDir()
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", h+"/key").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	pub, _ := os.ReadFile(h + "/key.pub")
	write(t, h+"/allowed", "ada@example.com "+string(pub))
	_, env := home(t, "[user]\n\tname = Ada\n\temail = ada@example.com\n\tsigningkey = "+h+"/key.pub\n[commit]\n\tgpgsign = true\n[gpg]\n\tformat = ssh\n")
	dir, ctx := sample(t), context.Background()
	r := open(t, dir)
	who, err := r.Identity(ctx, env)
	if err != nil {
		t.Fatal(err)
	}
	d := draft(t, r, r.Head)
	c, err := d.Commit(ctx, []File{content("a", ModeFile, "a")}, "signed\n", who, time.Now())
	if err == nil {
		err = d.Publish(ctx, "signed", c, who)
	}
	if err != nil || !c.Signed {
		t.Fatal(c, err)
	}
	if out, err := plainResult(dir, "-c", "gpg.ssh.allowedSignersFile="+h+"/allowed", "verify-commit", "signed"); err != nil {
		t.Errorf("verify-commit: %v\n%s", err, out)
	}
	// A key that is not there is an error, not an unsigned commit.
	who.settings["user.signingkey"] = h + "/missing.pub"
	if c, err := draft(t, r, r.Head).Commit(ctx, []File{content("a", ModeFile, "a")}, "x\n", who, time.Now()); err == nil {
		t.Errorf("committed without the key: %+v", c)
	}
}
