package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/blob"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
	"github.com/carrel-dev/carrel/internal/git"
	"github.com/carrel-dev/carrel/internal/needs"
)

// bench is a workspace with a state directory, for tests of applies.
type applyBench struct {
	t           *testing.T
	root, state string
	blobs       *blob.Store
	stamp       time.Time
	files       map[string]carrel.FileChange
	repo        *git.Repo
	commit      string
}

// newApplyBench lays out a tree: names ending in "/" are directories, contents
// beginning with "->" links, with "+x " executables.
func newApplyBench(t *testing.T, tree map[string]string) *applyBench {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &applyBench{t: t, root: filepath.Join(dir, "ws"), state: filepath.Join(dir, "state"), files: make(map[string]carrel.FileChange)}
	if b.blobs, err = blob.Open(filepath.Join(dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(b.root, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range tree {
		b.lay(name, content)
	}
	b.begin()
	return b
}

func (b *applyBench) lay(name, content string) {
	b.t.Helper()
	path := filepath.Join(b.root, name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	switch {
	case err != nil:
	case strings.HasSuffix(name, "/"):
		err = os.MkdirAll(path, 0o755)
	case strings.HasPrefix(content, "->"):
		_ = os.Remove(path)
		err = os.Symlink(content[2:], path)
	case strings.HasPrefix(content, "+x "):
		err = os.WriteFile(path, []byte(content[3:]), 0o755)
	default:
		err = os.WriteFile(path, []byte(content), 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// begin is the start of the agent's work: what follows has a later ctime.
func (b *applyBench) begin() {
	b.t.Helper()
	var err error
	if b.stamp, err = fsTime(b.root, b.state); err != nil {
		b.t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	if b.repo != nil {
		b.repo, err = git.Open(context.Background(), b.root)
		if err != nil {
			b.t.Fatal(err)
		}
		b.commit = b.repo.Head
	}
}

// useGit commits everything that is in the tree.
func (b *applyBench) useGit() {
	b.t.Helper()
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "-A"}, {"commit", "-q", "--allow-empty", "-m", "base"}} {
		b.git(args...)
	}
	b.repo = &git.Repo{}
	b.begin()
}

func (b *applyBench) git(args ...string) string {
	b.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = b.root
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// state of a path of the tree, as a capture would have it.
func (b *applyBench) stateOf(name string) carrel.FileState {
	b.t.Helper()
	path := filepath.Join(b.root, name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return carrel.FileState{Kind: carrel.FileNone}
	}
	if err != nil {
		b.t.Fatal(err)
	}
	s := carrel.FileState{Kind: carrel.FileRegular, Mode: uint32(info.Mode().Perm())}
	switch {
	case info.IsDir():
		s.Kind = carrel.FileDir
	case info.Mode()&fs.ModeSymlink != 0:
		target, _ := os.Readlink(path)
		s = carrel.FileState{Kind: carrel.FileLink, Size: int64(len(target)), Target: carrel.Text(target), Digest: carrel.DigestBytes([]byte(target))}
	default:
		content, err := os.ReadFile(path)
		if err != nil {
			b.t.Fatal(err)
		}
		s.Size, s.Digest = int64(len(content)), b.put(string(content))
	}
	return s
}

func (b *applyBench) put(content string) carrel.Digest {
	b.t.Helper()
	batch, err := b.blobs.Batch()
	if err != nil {
		b.t.Fatal(err)
	}
	d, err := batch.PutBytes([]byte(content))
	if err == nil {
		err = batch.Commit()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

// want adds a file to the change: content as for newApplyBench, "" deletes.
func (b *applyBench) want(name, content string) *applyBench {
	b.t.Helper()
	f := carrel.FileChange{Change: carrel.Modified, Before: b.stateOf(strings.TrimSuffix(name, "/"))}
	f.Path = carrel.Text(strings.TrimSuffix(name, "/"))
	switch {
	case content == "":
		f.Kind = carrel.FileNone
	case strings.HasSuffix(name, "/"):
		f.Kind, f.Mode = carrel.FileDir, 0o755
	case strings.HasPrefix(content, "->"):
		f.Kind, f.Target, f.Size = carrel.FileLink, carrel.Text(content[2:]), int64(len(content)-2)
		f.Digest = carrel.DigestBytes([]byte(content[2:]))
	default:
		body, executable := strings.CutPrefix(content, "+x ")
		f.FileState = carrel.FileState{Kind: carrel.FileRegular, Mode: 0o644, Size: int64(len(body)), Digest: b.put(body)}
		if executable {
			f.Mode = 0o755
		}
	}
	b.files[string(f.Path)] = f
	return b
}

func (b *applyBench) change() *carrel.Change {
	c := &carrel.Change{
		Version: 1, ID: carrel.NewChangeID(), Run: carrel.NewRunID(), Workspace: carrel.Text(b.root),
		Base: carrel.Base{Stamp: b.stamp, Commit: b.commit}, Risk: carrel.Risk{Counts: map[string]int{}},
	}
	for _, f := range b.files {
		c.Files = append(c.Files, f)
	}
	sort.Slice(c.Files, func(i, j int) bool { return c.Files[i].Path < c.Files[j].Path })
	return c
}

func (b *applyBench) options(c *carrel.Change) ApplyOptions {
	return ApplyOptions{Change: c, Blobs: b.blobs, State: b.state, Repo: b.repo}
}

// apply applies the change through a gate that allows it.
func (b *applyBench) apply(o ApplyOptions) (Applied, error) {
	b.t.Helper()
	a, err := PublishAction(o.Change, carrel.TargetTree, false)
	if err != nil {
		b.t.Fatal(err)
	}
	var done Applied
	g, _ := gatetest.AllowAll()
	_, err = g.Do(context.Background(), a, func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
		var err error
		done, err = Apply(ctx, grant, a, o)
		return carrel.Outcome{}, err
	})
	if done.Journal != nil {
		err = errors.Join(err, done.Journal.End())
	}
	return done, err
}

// tree lists the workspace, in the notation of newApplyBench.
func (b *applyBench) tree() map[string]string {
	b.t.Helper()
	got := make(map[string]string)
	err := filepath.WalkDir(b.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(b.root, path)
		info, err := e.Info()
		switch {
		case err != nil:
			return err
		case name == ".":
		case name == ".git":
			return fs.SkipDir
		case e.IsDir():
			got[name+"/"] = ""
		case e.Type()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			got[name] = "->" + target
		default:
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			got[name] = string(content)
			if info.Mode()&0o100 != 0 {
				got[name] = "+x " + got[name]
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

func (b *applyBench) expect(want map[string]string) {
	b.t.Helper()
	got := b.tree()
	var diff []string
	for name, content := range want {
		if g, ok := got[name]; !ok || g != content {
			diff = append(diff, fmt.Sprintf("%s: got %q (there: %t), want %q", name, g, ok, content))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			diff = append(diff, "unexpected "+name)
		}
	}
	if slices.Sort(diff); len(diff) > 0 {
		b.t.Errorf("the tree is wrong:\n%s", strings.Join(diff, "\n"))
	}
	if left, err := filepath.Glob(filepath.Join(b.state, "applies/*.json")); err != nil || len(left) > 0 {
		b.t.Errorf("journals are left: %v %v", left, err)
	}
}

var everyKind = map[string]string{
	"keep": "keep", "edit": "old", "script": "run", "gone": "x", "link": "->keep", "relink": "->a", "unlink": "->b",
	"dir/": "", "dir/a": "a", "dir/b": "b", "dir/sub/": "", "dir/sub/c": "c",
	"file-to-dir": "f", "dir-to-file/": "", "dir-to-file/x": "x", "file-to-link": "f", "link-to-file": "->keep", "dir-to-link/": "",
}

// wantEveryKind asks for every alteration there is.
func (b *applyBench) wantEveryKind() *applyBench {
	return b.want("edit", "new").want("script", "+x run").want("gone", "").want("relink", "->c").want("unlink", "").
		want("dir", "").want("dir/a", "").want("dir/b", "").want("dir/sub", "").want("dir/sub/c", "").
		want("file-to-dir/", "d").want("file-to-dir/in", "in").want("dir-to-file", "now a file").want("dir-to-file/x", "").
		want("file-to-link", "->keep").want("link-to-file", "file").want("dir-to-link", "->keep").
		want("new/", "d").want("new/deep/", "d").want("new/deep/file", "+x n").want("new/link", "->deep").
		want("implied/by/its/file", "i").want("made", "m").want("empty/", "d")
}

var everyKindDone = map[string]string{
	"keep": "keep", "edit": "new", "script": "+x run", "link": "->keep", "relink": "->c",
	"file-to-dir/": "", "file-to-dir/in": "in", "dir-to-file": "now a file", "file-to-link": "->keep", "link-to-file": "file", "dir-to-link": "->keep",
	"new/": "", "new/deep/": "", "new/deep/file": "+x n", "new/link": "->deep",
	"implied/": "", "implied/by/": "", "implied/by/its/": "", "implied/by/its/file": "i", "made": "m", "empty/": "",
}

func TestApplyEveryKindOfAlteration(t *testing.T) {
	b := newApplyBench(t, everyKind).wantEveryKind()
	c := b.change()
	done, err := b.apply(b.options(c))
	if err != nil {
		t.Fatal(err)
	}
	if done.Files != len(c.Files) || len(done.Already) != 0 {
		t.Errorf("got %+v", done)
	}
	b.expect(everyKindDone)
	// The same again finds everything as it is to be.
	again, err := b.apply(b.options(c))
	if err != nil || again.Files != 0 || len(again.Already) != len(c.Files) {
		t.Errorf("again: %+v, %v", again, err)
	}
	b.expect(everyKindDone)
}

func TestApplyContract(t *testing.T) {
	b := newApplyBench(t, map[string]string{"f": "old"}).want("f", "new")
	c := b.change()
	a, err := PublishAction(c, carrel.TargetTree, false)
	if err != nil {
		t.Fatal(err)
	}
	gatetest.Contract(t, gatetest.Effect{
		Name: "apply", Action: a,
		Call: func(ctx context.Context, g gate.Grant) error {
			done, err := Apply(ctx, g, a, b.options(c))
			if done.Journal != nil {
				err = errors.Join(err, done.Journal.End())
			}
			return err
		},
		Happened: func() bool { return b.tree()["f"] == "new" },
	})
}

// A grant for one change must not carry another, nor the same one elsewhere.
func TestGrantIsForThisChangeAndTarget(t *testing.T) {
	b := newApplyBench(t, map[string]string{"f": "old"}).want("f", "new")
	c := b.change()
	other := *c
	other.Files = append([]carrel.FileChange(nil), c.Files...)
	other.Files[0].Digest = b.put("evil")
	toBranch, _ := PublishAction(c, carrel.TargetBranch, false)
	ofOther, _ := PublishAction(&other, carrel.TargetTree, false)
	for name, a := range map[string]carrel.Action{"another target": toBranch, "another change": ofOther, "another operation": {Operation: carrel.OpFreeze}} {
		g, _ := gatetest.AllowAll()
		_, err := g.Do(context.Background(), a, func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
			_, err := Apply(ctx, grant, a, b.options(c))
			return carrel.Outcome{}, err
		})
		if !errors.Is(err, gate.ErrNoGrant) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.expect(map[string]string{"f": "old"})
}

// Setuid, setgid and sticky bits, owners and attributes do not leave the desk.
func TestApplyStripsWhatIsNotContent(t *testing.T) {
	b := newApplyBench(t, map[string]string{"old": "x"}).want("old", "y").want("new", "z").want("d/", "d")
	for _, name := range []string{"old", "new", "d"} {
		f := b.files[name]
		f.Mode = 0o7777
		b.files[name] = f
	}
	if _, err := b.apply(b.options(b.change())); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"old", "new", "d"} {
		info, err := os.Stat(filepath.Join(b.root, name))
		if err != nil || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 || info.Mode().Perm() != 0o777 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

func TestApplyAsRootKeepsOwners(t *testing.T) {
	needs.Root(t)
	b := newApplyBench(t, map[string]string{"old": "x", "dir/": "", "gone": "g"})
	for name, id := range map[string]int{".": 4711, "old": 4712, "dir": 4713} {
		if err := os.Lchown(filepath.Join(b.root, name), id, id); err != nil {
			t.Fatal(err)
		}
	}
	b.begin()
	b.want("old", "y").want("dir/new", "z").want("dir/link", "->x").want("top/", "d").want("top/in", "i").want("dir2/x", "i")
	if _, err := b.apply(b.options(b.change())); err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]uint32{"old": 4712, "dir/new": 4713, "dir/link": 4713, "top": 4711, "top/in": 4711, "dir2": 4711, "dir2/x": 4711} {
		info, err := os.Lstat(filepath.Join(b.root, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Sys().(*syscall.Stat_t); got.Uid != id || got.Gid != id {
			t.Errorf("%s belongs to %d:%d, want %d", name, got.Uid, got.Gid, id)
		}
	}
}

// A name that looks like another place is never followed there (C58, I163).
func TestApplyRefusesPathsThatAreNotInside(t *testing.T) {
	for _, path := range []string{"../x", "/etc/x", "a/../../x", ".git/hooks/post-checkout", ".git", "a/.GIT/config", "./x", "a//b", "", "a\x00b", ".."} {
		b := newApplyBench(t, map[string]string{"a/": "", ".git/hooks/": ""}).want("ok", "x")
		f := b.files["ok"]
		f.Path = carrel.Text(path)
		b.files = map[string]carrel.FileChange{path: f}
		if _, err := b.apply(b.options(b.change())); err == nil {
			t.Errorf("%q was applied", path)
		}
		b.expect(map[string]string{"a/": ""})
	}
}

// I163: a directory on the target side is replaced by a link to elsewhere.
func TestApplyDoesNotFollowLinksOfTheTarget(t *testing.T) {
	for _, planned := range []bool{true, false} {
		b := newApplyBench(t, map[string]string{"dir/": "", "dir/f": "old", "z": "old"}).want("dir/f", "new").want("dir/n", "new").want("z", "new")
		outside := t.TempDir()
		if err := os.WriteFile(filepath.Join(outside, "f"), []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		swapped := false
		replace := func() {
			swapped = true
			if err := os.Rename(filepath.Join(b.root, "dir"), filepath.Join(b.root, "was")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, filepath.Join(b.root, "dir")); err != nil {
				t.Fatal(err)
			}
		}
		o := b.options(b.change())
		if planned {
			replace()
		} else {
			o.at = func(point string) error {
				if point == "step" && !swapped {
					replace()
				}
				return nil
			}
		}
		var conflict *ConflictError
		if _, err := b.apply(o); !errors.As(err, &conflict) {
			t.Errorf("planned %t: %v", planned, err)
		}
		if got, _ := os.ReadFile(filepath.Join(outside, "f")); string(got) != "old" {
			t.Errorf("planned %t: the file outside holds %q", planned, got)
		}
		if _, err := os.Lstat(filepath.Join(outside, "n")); err == nil {
			t.Errorf("planned %t: a file was made outside", planned)
		}
		b.expect(map[string]string{"was/": "", "was/f": "old", "dir": "->" + outside, "z": "old"})
	}
}

func TestApplyReplacesAHardLinkAndNotItsOtherName(t *testing.T) {
	b := newApplyBench(t, map[string]string{"x": "x"})
	outside := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(outside, filepath.Join(b.root, "h")); err != nil {
		t.Fatal(err)
	}
	b.begin()
	b.want("h", "evil")
	if _, err := b.apply(b.options(b.change())); err != nil {
		t.Fatal(err)
	}
	b.expect(map[string]string{"x": "x", "h": "evil"})
	if got, _ := os.ReadFile(outside); string(got) != "secret" {
		t.Errorf("the other name holds %q", got)
	}
}

// What is applied is what was approved: content that is no longer what its
// digest says is not written.
func TestApplyRefusesDamagedContent(t *testing.T) {
	b := newApplyBench(t, map[string]string{"a": "old", "f": "old"}).want("a", "new").want("f", "approved")
	c, damaged := b.change(), 0
	err := filepath.WalkDir(filepath.Dir(b.root)+"/blobs", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(content, []byte("approved")) {
			return err
		}
		damaged++
		return errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, bytes.ReplaceAll(content, []byte("approved"), []byte("disprove")), 0o600))
	})
	if err != nil || damaged == 0 {
		t.Fatal(damaged, err)
	}
	if _, err := b.apply(b.options(c)); !errors.Is(err, blob.ErrDamaged) {
		t.Errorf("got %v", err)
	}
	b.expect(map[string]string{"a": "old", "f": "old"})
}

func TestApplyAsAnOrdinaryUser(t *testing.T) {
	needs.AsUser(t, "^Test(ApplyEvery|ApplyContract|ApplyStrips|ApplyDoesNot|ApplyReplaces|ApplyRefuses|UserWent|AllConflicts|Tracked|BranchSwitch|Deleted|Killed|Recovery|Failed|UserEdits|WriteTo|ForeignFile|ReadOnly|ApplyToABranch|BranchLeaves)")
}

// A file of somebody else's cannot be replaced without taking it over, and a
// directory that cannot be written stops the apply before it begins.
func TestForeignFileAndReadOnlyDirectory(t *testing.T) {
	needs.Ordinary(t) // root may write everywhere
	b := newApplyBench(t, map[string]string{"f": "old", "closed/": "", "closed/f": "old", "open/": "", "open/f": "old"})
	closed := filepath.Join(b.root, "closed")
	if err := os.Chmod(closed, 0o555); err != nil {
		t.Fatal(err)
	}
	b.want("f", "new").want("closed/f", "new").want("closed/n", "new").want("open/f", "")
	if found := b.conflictsOf(); len(found) != 2 || !strings.Contains(found["closed/f"].Reason, "cannot be written") {
		t.Errorf("got %+v", found)
	}
	if err := os.Chmod(closed, 0o755); err != nil { // the twin
		t.Fatal(err)
	}
	if found := b.conflictsOf(); len(found) != 0 {
		t.Errorf("got %+v", found)
	}
}

func TestApplyTenThousandFiles(t *testing.T) {
	needs.Long(t)
	tree := make(map[string]string)
	for i := range 5000 {
		tree[fmt.Sprintf("d%d/file%d", i%50, i)] = fmt.Sprint(i)
	}
	b := newApplyBench(t, tree)
	b.manyFiles(10_000)
	for i := range 5000 {
		name := fmt.Sprintf("d%d/file%d", i%50, i)
		f := b.files[name]
		f.Before = carrel.FileState{Kind: carrel.FileRegular, Mode: 0o644, Size: int64(len(fmt.Sprint(i))), Digest: carrel.DigestBytes([]byte(fmt.Sprint(i)))}
		b.files[name] = f
	}
	start := time.Now()
	if done, err := b.apply(b.options(b.change())); err != nil || done.Files != 10_000 {
		t.Fatal(done, err)
	}
	t.Logf("10,000 files in %v", time.Since(start))
	if got := len(b.tree()); got != 10_050 {
		t.Errorf("%d entries", got)
	}
}

// manyFiles asks for n new files of a kilobyte.
func (b *applyBench) manyFiles(n int) {
	b.t.Helper()
	batch, err := b.blobs.Batch()
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range n {
		d, err := batch.PutBytes(bytes.Repeat([]byte(fmt.Sprintf("%d\n", i)), 200))
		if err != nil {
			b.t.Fatal(err)
		}
		f := carrel.FileChange{Path: carrel.Text(fmt.Sprintf("d%d/file%d", i%50, i)), Before: carrel.FileState{Kind: carrel.FileNone}}
		f.FileState = carrel.FileState{Kind: carrel.FileRegular, Mode: 0o644, Size: int64(200 * (1 + len(fmt.Sprint(i)))), Digest: d}
		b.files[string(f.Path)] = f
	}
	if err := batch.Commit(); err != nil {
		b.t.Fatal(err)
	}
}
