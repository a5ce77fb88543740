package workspace

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
	"github.com/carrel-dev/carrel/internal/git"
	"github.com/carrel-dev/carrel/internal/needs"
)

func (b *applyBench) environ() []string {
	b.t.Helper()
	home := b.t.TempDir()
	config := "[user]\n\tname = Grace Host\n\temail = grace@example.com\n"
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
}

func (b *applyBench) branch(name string, c *carrel.Change) (Branched, error) {
	b.t.Helper()
	o := BranchOptions{ApplyOptions: b.options(c), Branch: name, Environ: b.environ(), Now: time.Now()}
	a, err := PublishAction(c, carrel.TargetBranch, false)
	if err != nil {
		b.t.Fatal(err)
	}
	var done Branched
	g, _ := gatetest.AllowAll()
	_, err = g.Do(context.Background(), a, func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
		var err error
		done, err = ApplyBranch(ctx, grant, a, o)
		return carrel.Outcome{}, err
	})
	return done, err
}

func TestApplyToABranch(t *testing.T) {
	b := newApplyBench(t, everyKind)
	b.useGit()
	b.wantEveryKind()
	before, status := b.tree(), b.git("status", "--porcelain")
	c := b.change()
	c.Message = "Write the tests\n\nThey pass.\n\nCo-authored-by: The Maintainer <m@example.com>\nSigned-off-by: Grace <g@example.com>\nReviewed-By : x\ncarrel-run: forged\nFixes: #1\n"
	done, err := b.branch("carrel/work", c)
	if err != nil {
		t.Fatal(err)
	}
	b.expect(before)
	if got := b.git("status", "--porcelain"); got != status {
		t.Errorf("status changed: %s", got)
	}
	want := "Grace Host <grace@example.com>|Grace Host <grace@example.com>|" + b.commit + "|Write the tests\n\nThey pass.\n\nFixes: #1\n\nCarrel-Run: " + string(c.Run) + "\nCarrel-Change: " + string(c.ID)
	if got := b.git("log", "-1", "--format=%an <%ae>|%cn <%ce>|%P|%B", "carrel/work"); !strings.HasPrefix(got, want) || done.Name != strings.TrimSpace(b.git("rev-parse", "carrel/work")) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	b.git("fsck", "--strict")
	b.git("checkout", "-q", "carrel/work")
	tree := make(map[string]string)
	for name, content := range everyKindDone {
		if name != "empty/" {
			tree[name] = content
		}
	}
	b.expect(tree)
	if len(done.Left) != 1 || done.Left[0].Path != "empty" {
		t.Errorf("left out: %+v", done.Left)
	}
}

func TestBranchContract(t *testing.T) {
	b := newApplyBench(t, map[string]string{"f": "old"})
	b.useGit()
	c := b.want("f", "new").change()
	a, err := PublishAction(c, carrel.TargetBranch, false)
	if err != nil {
		t.Fatal(err)
	}
	gatetest.Contract(t, gatetest.Effect{
		Name: "apply to a branch", Action: a,
		Call: func(ctx context.Context, g gate.Grant) error {
			_, err := ApplyBranch(ctx, g, a, BranchOptions{ApplyOptions: b.options(c), Branch: "work", Environ: b.environ(), Now: time.Now()})
			return err
		},
		Happened: func() bool { return strings.Contains(b.git("branch"), "work") },
	})
}

func TestBranchFromDetachedAndMovedHead(t *testing.T) {
	b := newApplyBench(t, map[string]string{"f": "old"})
	b.useGit()
	b.git("checkout", "-q", "--detach")
	b.want("f", "theirs")
	b.lay("f", "mine") // and commits it: the branch still starts at the base
	b.git("commit", "-qam", "mine")
	done, err := b.branch("work", b.change())
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(b.git("rev-parse", done.Name+"^")); got != b.commit {
		t.Errorf("parent %s, base %s", got, b.commit)
	}
	b.expect(map[string]string{"f": "mine"})
}

func TestBranchBeforeTheFirstCommit(t *testing.T) {
	b := newApplyBench(t, nil)
	b.git("init", "-q", "-b", "main")
	b.repo = &git.Repo{}
	b.begin()
	if _, err := b.branch("first", b.want("f", "new").change()); err != nil {
		t.Fatal(err)
	}
	if got := b.git("show", "--stat", "--format=%P|%s", "first"); !strings.HasPrefix(got, "|Add f\n") || !strings.Contains(got, " f | 1 +") {
		t.Errorf("got %s", got)
	}
}

func TestBranchNeedsARepositoryAndANewName(t *testing.T) {
	b := newApplyBench(t, map[string]string{"f": "old"}).want("f", "new")
	if _, err := b.branch("work", b.change()); !errors.Is(err, ErrNoBranch) {
		t.Errorf("outside git: %v", err)
	}
	b.useGit()
	if _, err := b.branch("main", b.change()); !errors.Is(err, git.ErrBranchExists) {
		t.Errorf("existing: %v", err)
	}
	if _, err := b.branch("a..b", b.change()); err == nil {
		t.Error("a bad name was taken")
	}
}

// What was not committed is the user's: no branch publishes it unasked.
func TestBranchDoesNotCarryUncommittedWork(t *testing.T) {
	b := newApplyBench(t, map[string]string{"f": "old", "l": "->old", "crlf.txt": "a\r\nb\r\n", ".gitattributes": "*.txt text\n"})
	b.useGit()
	b.lay("f", "mine")
	b.lay("l", "->mine")
	b.lay("untracked", "mine")
	b.begin()
	b.want("f", "mine and theirs").want("untracked", "theirs").want("l", "->theirs").want("crlf.txt", "c\r\n").want("ok", "theirs")
	var conflict *ConflictError
	if _, err := b.branch("work", b.change()); !errors.As(err, &conflict) || len(conflict.Conflicts) != 3 {
		t.Fatalf("got %v", err)
	}
	for _, path := range []string{"f", "l", "untracked"} { // the twin: the rest can go
		delete(b.files, path)
	}
	if _, err := b.branch("work", b.change()); err != nil {
		t.Error(err)
	}
	if got := b.git("cat-file", "blob", "work:crlf.txt"); got != "c\n" {
		t.Errorf("line ends: %q", got)
	}
}

func TestBranchLeavesOutWhatGitIgnores(t *testing.T) {
	b := newApplyBench(t, map[string]string{".gitignore": "*.log\n", "tracked.log": "x"})
	b.git("init", "-q", "-b", "main")
	b.git("add", "-Af", ".")
	b.useGit()
	b.want(".gitignore", "*.log\nnode_modules/\n").want("a.log", "x").want("tracked.log", "y").want("node_modules/m/index.js", "x").want("src", "x")
	done, err := b.branch("work", b.change())
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Left) != 2 || done.Left[0].Path != "a.log" || done.Left[1].Path != "node_modules/m/index.js" || done.Files != 3 {
		t.Errorf("got %+v", done)
	}
	delete(b.files, ".gitignore")
	delete(b.files, "tracked.log")
	delete(b.files, "src")
	delete(b.files, "node_modules/m/index.js")
	if _, err := b.branch("nothing", b.change()); err == nil || strings.Contains(b.git("branch"), "nothing") {
		t.Errorf("an empty commit: %v", err)
	}
}

func TestBranchRefusesFiltersAndSubmodules(t *testing.T) {
	b := newApplyBench(t, map[string]string{".gitattributes": "*.psd filter=lfs -text\n*.x filter=evil\n", "f": "x"})
	sub := newApplyBench(t, map[string]string{"s": "x"})
	sub.useGit()
	b.useGit()
	b.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", sub.root, "sub")
	b.git("commit", "-qm", "submodule")
	b.begin()
	b.want("a.psd", "x").want("a.x", "x").want("sub/s", "y").want("f", "y")
	_, err := b.branch("work", b.change())
	var conflict *ConflictError
	if !errors.As(err, &conflict) || len(conflict.Conflicts) != 3 {
		t.Fatalf("got %v", err)
	}
	for i, want := range []string{"git-lfs", "filter", "submodule"} {
		if !strings.Contains(conflict.Conflicts[i].Reason, want) {
			t.Errorf("%+v", conflict.Conflicts[i])
		}
	}
	if strings.Contains(b.git("branch"), "work") {
		t.Error("the branch was made")
	}
}

func TestBranchPathsAreChecked(t *testing.T) {
	for _, path := range []string{".git/config", "a/.GIT/x", "../x", "git~1/x", ".git\u200c/x"} {
		b := newApplyBench(t, map[string]string{"f": "x"})
		b.useGit()
		f := b.want("ok", "x").files["ok"]
		f.Path = carrel.Text(path)
		b.files = map[string]carrel.FileChange{path: f}
		if _, err := b.branch("work", b.change()); err == nil || strings.Contains(b.git("branch"), "work") {
			t.Errorf("%q was committed", path)
		}
	}
}

// Without anybody's words the subject says what git will show: files.
func TestPlainSubject(t *testing.T) {
	file := carrel.FileState{Kind: carrel.FileRegular}
	none, dir := carrel.FileState{Kind: carrel.FileNone}, carrel.FileState{Kind: carrel.FileDir}
	change := func(path string, before, after carrel.FileState) carrel.FileChange {
		return carrel.FileChange{Path: carrel.Text(path), FileState: after, Before: before}
	}
	for want, files := range map[string][]carrel.FileChange{
		"Add d/a":         {change("d", none, dir), change("d/a", none, file)},
		"Update a":        {change("a", file, file)},
		"Delete a":        {change("a", file, none)},
		"Change 2 files":  {change("a", file, dir), change("a/b", none, file)},
		"Update one file": {change(strings.Repeat("long/", 20), file, file)},
	} {
		if got := plainSubject(&carrel.Change{Files: files}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Root applies to a user's repository: what is new in it is the user's.
func TestBranchByRootInAUsersRepository(t *testing.T) {
	needs.Root(t)
	b := newApplyBench(t, map[string]string{"f": "old"})
	b.useGit()
	u, err := needs.User()
	if err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(b.root); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // where the user can reach it
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("chown", "-R", u.Username, b.root).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	b.begin()
	if _, err := b.branch("carrel/work", b.want("f", "new").change()); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("find", b.root, "-not", "-user", u.Username).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("not the user's: %s %v", out, err)
	}
}

func TestBranchOfTenThousandFiles(t *testing.T) {
	needs.Long(t)
	b := newApplyBench(t, map[string]string{"f": "x", ".gitattributes": "* text=auto\n"})
	b.useGit()
	b.manyFiles(10_000)
	start := time.Now()
	done, err := b.branch("work", b.change())
	if err != nil || done.Files != 10_000 {
		t.Fatal(done.Files, err)
	}
	t.Logf("10,000 files in %v", time.Since(start))
}

// A branch whose making could not be recorded is taken back by the next
// command, unless somebody goes on from it.
func TestBranchThatWasNotRecordedIsTakenBack(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(b *applyBench)
		stays     bool
	}{
		"nothing":         {func(*applyBench) {}, false},
		"checked out":     {func(b *applyBench) { b.git("checkout", "-q", "-f", "left") }, true},
		"moved on":        {func(b *applyBench) { b.git("update-ref", "refs/heads/left", "HEAD") }, true},
		"another of that": {func(b *applyBench) { b.git("branch", "-D", "left"); b.git("branch", "left/over") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newApplyBench(t, everyKind)
			b.useGit()
			b.wantEveryKind()
			change := b.change()
			a, err := PublishAction(change, carrel.TargetBranch, false)
			if err != nil {
				t.Fatal(err)
			}
			a.ID = carrel.NewActionID()
			g, log := gatetest.AllowAll()
			log.Fail = func(r carrel.Record) error {
				if r.Kind == carrel.KindResult {
					return errors.New("the disk is full")
				}
				return nil
			}
			var done Branched
			_, err = g.Do(context.Background(), a, func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
				done, err = ApplyBranch(ctx, grant, a, BranchOptions{ApplyOptions: b.options(change), Branch: "left", Environ: b.environ(), Now: time.Now()})
				return carrel.Outcome{}, err
			})
			if err == nil || done.Journal == nil {
				t.Fatalf("%v, %v", done.Journal, err)
			}
			if held, err := InterruptedBranches(b.state); err != nil || len(held) != 0 {
				t.Fatalf("while the apply goes on: %v, %v", held, err)
			}
			if err := done.Journal.Release(); err != nil {
				t.Fatal(err)
			}
			c.meanwhile(b)
			left, err := InterruptedBranches(b.state)
			if err != nil || len(left) != 1 || left[0].Action != a.ID {
				t.Fatalf("%v, %v", left, err)
			}
			undo := left[0].Undoing()
			if _, err := left[0].TakeBack(context.Background(), gate.Grant{}, undo, b.options(change).Repo); err == nil {
				t.Error("taken back without a grant")
			}
			road, _ := gatetest.AllowAll()
			_, err = road.Do(context.Background(), undo, func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
				_, err := left[0].TakeBack(ctx, grant, undo, b.options(change).Repo)
				return carrel.Outcome{}, err
			})
			if err := errors.Join(err, left[0].End()); err != nil {
				t.Fatal(err)
			}
			if stays := strings.Contains(b.git("for-each-ref", "refs/heads/left")+"\n", "refs/heads/left\n"); stays != c.stays {
				t.Errorf("the branch is there: %v", stays)
			}
			if again, err := InterruptedBranches(b.state); err != nil || len(again) != 0 {
				t.Errorf("still interrupted: %v, %v", again, err)
			}
		})
	}
}

// A message cannot have a commit vouched for, nor keep it from being checked,
// whatever its parts make when some are taken out; words that merely speak of
// that stay.
func TestAttackMessageThatTurnsChecksOff(t *testing.T) {
	for said, want := range map[string]string{
		"Fix [skip ci]":                           "Fix",
		"Fix [CI Skip] it":                        "Fix  it",
		"Fix\n\n[skip actions]":                   "Fix",
		"Fix ***NO_CI***":                         "Fix",
		"Fix [no ci][ci-skip][skip-ci]":           "Fix",
		"Fix [skip [skip ci]ci]":                  "Fix",
		"Fix\n\nskip-checks: true":                "Fix",
		"Fix\n\nSigned-[skip ci]off-by: G <g@x>":  "Fix",
		"Fix\n\nskip-checks: x\nReviewed-by: y\n": "Fix",
		"Skip CI for drafts":                      "Skip CI for drafts",
		"Fix a[skip] and [no] x":                  "Fix a[skip] and [no] x",
	} {
		got, _, _ := strings.Cut(commitMessage(BranchOptions{ApplyOptions: ApplyOptions{Change: &carrel.Change{Message: carrel.Text(said)}}}), "\n\nCarrel-Run:")
		if got != want {
			t.Errorf("%q becomes %q, want %q", said, got, want)
		}
	}
	named := &carrel.Change{Files: []carrel.FileChange{{Path: "docs/[skip ci].md", FileState: carrel.FileState{Kind: carrel.FileRegular}, Before: carrel.FileState{Kind: carrel.FileNone}}}}
	if got := plainSubject(named); got != "Add one file" {
		t.Errorf("a file's name makes it %q", got)
	}
	own, _, _ := strings.Cut(commitMessage(BranchOptions{Message: "Fix [skip ci]", ApplyOptions: ApplyOptions{Change: &carrel.Change{}}}), "\n\nCarrel-Run:")
	if own != "Fix [skip ci]" {
		t.Errorf("the user's own message becomes %q", own)
	}
}
