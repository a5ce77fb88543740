package workspace

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// B34: runs that go on at once, and workspaces, never share a cache; what one
// run left is there for the next, until nobody has used it for long.
func TestCachesAreApart(t *testing.T) {
	s, other := newSite(t, StagingCopy), newSite(t, StagingCopy)
	other.state = s.state
	take := func(w *Workspace) *Cache {
		t.Helper()
		c, err := w.TakeCache()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	one, two, elsewhere := take(s.open()), take(s.open()), take(other.open())
	if one.Dir == two.Dir || one.Dir == elsewhere.Dir || two.Dir == elsewhere.Dir {
		t.Errorf("%s, %s, %s", one.Dir, two.Dir, elsewhere.Dir)
	}
	if err := os.WriteFile(filepath.Join(one.Dir, "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	one.Close()
	elsewhere.Close()
	again := take(s.ws)
	if _, err := os.Stat(filepath.Join(again.Dir, "kept")); err != nil {
		t.Error(err)
	}
	prune := func() {
		t.Helper()
		time.Sleep(5 * time.Millisecond)
		if _, err := Prune(context.Background(), s.state, s.ws.opts.Blobs, Retention{Desks: time.Millisecond}, nil); err != nil {
			t.Fatal(err)
		}
	}
	prune()
	for dir, want := range map[string]bool{again.Dir: true, two.Dir: true, elsewhere.Dir: false} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: %v", dir, err)
		}
	}
	again.Close()
	two.Close()
	prune()
	if left, err := os.ReadDir(filepath.Join(s.state, "caches")); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
