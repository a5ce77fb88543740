package workspace

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
)

// conflictsOf applies and returns the conflicts by path; the tree must be
// what it was before.
func (b *applyBench) conflictsOf() map[string]Conflict {
	b.t.Helper()
	before := b.tree()
	o := b.options(b.change())
	early, err := FindConflicts(context.Background(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	_, err = b.apply(o)
	var conflict *ConflictError
	if err != nil && !errors.As(err, &conflict) {
		b.t.Fatal(err)
	}
	found := make(map[string]Conflict)
	if conflict != nil {
		b.expect(before)
		for _, c := range conflict.Conflicts {
			found[string(c.Path)] = c
		}
	}
	if len(early) != len(found) {
		b.t.Errorf("FindConflicts found %d, Apply %d", len(early), len(found))
	}
	return found
}

// I164: whatever the user did to the tree meanwhile, nothing of it is lost,
// and what does not touch the change stands in nobody's way.
func TestUserWentOnEditing(t *testing.T) {
	for name, tc := range map[string]struct {
		want string // path and content of the one alteration
		user func(b *applyBench)
		ok   bool
	}{
		"nothing":                        {"f=new", func(*applyBench) {}, true},
		"another file":                   {"f=new", func(b *applyBench) { b.lay("dir/g", "mine") }, true},
		"new file beside a created one":  {"dir/n=new", func(b *applyBench) { b.lay("dir/m", "mine") }, true},
		"new file beside a deleted one":  {"dir/g=", func(b *applyBench) { b.lay("dir/m", "mine") }, true},
		"edited":                         {"f=new", func(b *applyBench) { b.lay("f", "mine") }, false},
		"edited to the same length":      {"f=new", func(b *applyBench) { b.lay("f", "OLD") }, false},
		"edited to the very same":        {"f=new", func(b *applyBench) { b.lay("f", "new") }, true},
		"edited what is to go":           {"f=", func(b *applyBench) { b.lay("f", "mine") }, false},
		"chmod":                          {"f=new", func(b *applyBench) { _ = os.Chmod(filepath.Join(b.root, "f"), 0o600) }, false},
		"deleted":                        {"f=new", func(b *applyBench) { _ = os.Remove(filepath.Join(b.root, "f")) }, false},
		"deleted what is to go":          {"f=", func(b *applyBench) { _ = os.Remove(filepath.Join(b.root, "f")) }, true},
		"deleted the directory":          {"dir/g=new", func(b *applyBench) { _ = os.RemoveAll(filepath.Join(b.root, "dir")) }, false},
		"made the same name":             {"n=new", func(b *applyBench) { b.lay("n", "mine") }, false},
		"made a directory of that name":  {"n=new", func(b *applyBench) { b.lay("n/", "") }, false},
		"made a file where a dir is due": {"n/in=new", func(b *applyBench) { b.lay("n", "mine") }, false},
		"made the same directory":        {"n/in=new", func(b *applyBench) { b.lay("n/mine", "mine") }, true},
		"renamed another file there":     {"f=new", func(b *applyBench) { _ = os.Rename(filepath.Join(b.root, "dir/g"), filepath.Join(b.root, "f")) }, false},
		"put a link there":               {"f=new", func(b *applyBench) { _ = os.Remove(filepath.Join(b.root, "f")); b.lay("f", "->dir/g") }, false},
		"retargeted the link":            {"l=->new", func(b *applyBench) { b.lay("l", "->mine") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newApplyBench(t, map[string]string{"f": "old", "dir/": "", "dir/g": "old", "l": "->old", "other": "old"})
			path, content, _ := strings.Cut(tc.want, "=")
			b.want(path, content).want("other", "new")
			if content == "" && strings.HasSuffix(path, "/in") {
				b.want("n/", "d")
			}
			tc.user(b)
			found := b.conflictsOf()
			if tc.ok != (len(found) == 0) {
				t.Fatalf("conflicts: %+v", found)
			}
			if !tc.ok {
				if _, named := found[path]; !named || len(found) != 1 {
					t.Errorf("conflicts name the wrong paths: %+v", found)
				}
				return
			}
			if got := b.tree()["other"]; got != "new" {
				t.Errorf("not applied: %q", got)
			}
		})
	}
}

// All conflicts are found at once, before anything is written.
func TestAllConflictsAreReported(t *testing.T) {
	b := newApplyBench(t, map[string]string{"a": "old", "b": "old", "c": "old", "dir/": "", "dir/d": "old"})
	b.want("a", "new").want("b", "new").want("c", "").want("dir/d", "").want("dir", "").want("n", "new")
	b.lay("a", "mine")
	b.lay("c", "mine")
	b.lay("dir/mine", "mine")
	b.lay("n", "mine")
	found := b.conflictsOf()
	if len(found) != 4 || found["a"].Reason == "" || found["c"].Reason == "" || found["dir"].Reason == "" || found["n"].Reason == "" {
		t.Errorf("got %+v", found)
	}
}

func TestTrackedFileIsAThreeWayConflict(t *testing.T) {
	b := newApplyBench(t, map[string]string{"f": "base", "gone": "base", "untracked": "x"})
	b.useGit()
	b.want("f", "theirs").want("gone", "theirs").want("untracked", "theirs")
	b.lay("f", "ours")
	b.lay("untracked", "ours")
	if err := os.Remove(filepath.Join(b.root, "gone")); err != nil {
		t.Fatal(err)
	}
	b.git("rm", "-q", "--cached", "untracked") // tracked is what the base commit says, not the index
	found := b.conflictsOf()
	read := func(d carrel.Digest) string {
		content, err := b.blobs.Read(d, 100)
		if err != nil {
			t.Error(err)
		}
		return string(content)
	}
	if c := found["f"]; !c.ThreeWay || read(c.Base.Digest) != "base" || read(c.Ours.Digest) != "ours" || read(c.Theirs.Digest) != "theirs" {
		t.Errorf("f: %+v", c)
	}
	if c := found["gone"]; !c.ThreeWay || read(c.Base.Digest) != "base" || c.Ours.Kind != carrel.FileNone {
		t.Errorf("gone: %+v", c)
	}
	if c := found["untracked"]; !c.ThreeWay || c.Base.Digest == "" {
		t.Errorf("untracked: %+v", c)
	}
}

// Switching branches there and back rewrites files and their ctimes; what is
// again what the base commit has can be replaced without losing anything.
func TestBranchSwitchThereAndBack(t *testing.T) {
	b := newApplyBench(t, map[string]string{"f": "base", "x": "+x base", "l": "->base", "dirty": "base", "d/deleted": "base"})
	b.useGit()
	b.lay("dirty", "uncommitted")
	b.begin()
	b.want("f", "new").want("x", "+x new").want("l", "->new")
	b.git("stash", "-q")
	b.git("checkout", "-q", "--orphan", "other")
	b.git("rm", "-rqf", ".")
	b.git("checkout", "-qf", "main")
	b.git("stash", "pop", "-q")
	b.git("gc", "-q", "--prune=now")
	// A capture after that knows no digest of what was there before.
	for _, name := range []string{"f", "x", "l"} {
		f := b.files[name]
		f.Before.Digest = ""
		b.files[name] = f
	}
	if found := b.conflictsOf(); len(found) != 0 {
		t.Fatalf("conflicts: %+v", found)
	}
	b.expect(map[string]string{"f": "new", "x": "+x new", "l": "->new", "dirty": "uncommitted", "d/": "", "d/deleted": "base"})
	// What was not committed is the user's, and a conflict.
	b.files = map[string]carrel.FileChange{}
	b.want("dirty", "new")
	if found := b.conflictsOf(); !found["dirty"].ThreeWay {
		t.Errorf("dirty: %+v", found)
	}
}

func TestDeletedTrackedFileIsNotResurrected(t *testing.T) {
	b := newApplyBench(t, map[string]string{"f": "base", "d/f": "base", "keep": "k"})
	b.useGit()
	if err := errors.Join(os.Remove(filepath.Join(b.root, "f")), os.RemoveAll(filepath.Join(b.root, "d"))); err != nil {
		t.Fatal(err)
	}
	b.want("f", "new").want("d/f", "new").want("n", "new") // the capture saw nothing there
	if found := b.conflictsOf(); len(found) != 2 || !found["f"].ThreeWay || !found["d/f"].ThreeWay {
		t.Errorf("got %+v", found)
	}
}

// A base commit that was pruned meanwhile stops nothing that did not move.
func TestBaseCommitIsGone(t *testing.T) {
	b := newApplyBench(t, map[string]string{"f": "base", "g": "base"})
	b.useGit()
	b.commit = strings.Repeat("1", 40)
	b.want("f", "new")
	if found := b.conflictsOf(); len(found) != 0 {
		t.Errorf("got %+v", found)
	}
	b.want("g", "new")
	b.lay("g", "base") // touched: only the base could tell that nothing is lost
	if found := b.conflictsOf(); len(found) != 1 || found["g"].ThreeWay {
		t.Errorf("got %+v", found)
	}
}

// A path may have its own stamp: work that was resumed.
func TestStampOfOnePath(t *testing.T) {
	b := newApplyBench(t, map[string]string{"f": "old"})
	b.lay("f", "later")
	time.Sleep(20 * time.Millisecond)
	b.want("f", "new")
	f := b.files["f"]
	if found := b.conflictsOf(); len(found) != 1 {
		t.Errorf("without it: %+v", found)
	}
	f.Stamp = time.Now().UTC()
	b.files["f"] = f
	if found := b.conflictsOf(); len(found) != 0 {
		t.Errorf("with it: %+v", found)
	}
	f.Stamp = b.stamp.Add(-time.Hour)
	b.files["f"] = f
	b.lay("f", "old")
	if found := b.conflictsOf(); len(found) != 1 {
		t.Errorf("with an earlier one: %+v", found)
	}
}

// A capture that does not know what was there leaves the digest empty, so
// that nothing overwrites it.
func TestUnknownBeforeIsAConflict(t *testing.T) {
	b := newApplyBench(t, map[string]string{"f": "old", "l": "->old"}).want("f", "new").want("l", "->new")
	for name, f := range b.files {
		f.Before.Digest = ""
		b.files[name] = f
	}
	if found := b.conflictsOf(); len(found) != 2 {
		t.Errorf("got %+v", found)
	}
}

func TestSpecialFilesAreNeverApplied(t *testing.T) {
	b := newApplyBench(t, map[string]string{"f": "old"}).want("f", "new")
	f := b.files["f"]
	f.Kind = carrel.FileSpecial
	b.files["f"] = f
	if found := b.conflictsOf(); len(found) != 1 {
		t.Errorf("got %+v", found)
	}
}
