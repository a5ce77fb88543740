package git

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
)

func TestResolve(t *testing.T) {
	dir := sample(t)
	first := open(t, dir).Head
	write(t, filepath.Join(dir, "more"), "more")
	plain(t, dir, "add", ".")
	plain(t, dir, "commit", "-qm", "more")
	r, ctx := open(t, dir), context.Background()
	plain(t, dir, "update-ref", "refs/remotes/origin/main", first)
	plain(t, dir, "tag", "same", r.Head)
	plain(t, dir, "branch", "same", r.Head)
	plain(t, dir, "branch", "work", r.Head)
	for name, want := range map[string]string{
		"HEAD": r.Head, "@": r.Head, "HEAD^": first, "HEAD~1": first, r.Head: r.Head, r.Head[:10]: r.Head, "work": r.Head, "work^": first,
		"same": r.Head, "heads/work": r.Head, "origin/main": first, "refs/remotes/origin/main": first, "refs/heads/work~1": first,
	} {
		if got, err := r.Resolve(ctx, name); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, want)
		}
	}
	for _, name := range []string{"", "nothing", "-all", "--all", "HEAD^{tree}", "HEAD:more", "HEAD\nx", "nothing@{0}"} {
		if got, err := r.Resolve(ctx, name); err == nil {
			t.Errorf("%q is commit %s", name, got)
		}
	}
	if _, err := r.Resolve(ctx, "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}

// Whoever may push tags must not choose what a short name means.
func TestResolveRefusesAmbiguousNames(t *testing.T) {
	for _, packed := range []bool{false, true} {
		dir := sample(t)
		first := open(t, dir).Head
		write(t, filepath.Join(dir, "more"), "more")
		plain(t, dir, "add", ".")
		plain(t, dir, "commit", "-qm", "more")
		plain(t, dir, "update-ref", "refs/remotes/origin/main", first)
		plain(t, dir, "tag", "origin/main", "HEAD")
		plain(t, dir, "tag", "-a", "-m", "release", "work", first)
		plain(t, dir, "branch", "work", "HEAD")
		if packed {
			plain(t, dir, "pack-refs", "--all")
		}
		r, ctx := open(t, dir), context.Background()
		for _, name := range []string{"origin/main", "origin/main~0", "origin/main^{commit}", "work", "work^"} {
			if got, err := r.Resolve(ctx, name); !errors.Is(err, ErrAmbiguous) {
				t.Errorf("%s: %s, %v", name, got, err)
			}
		}
		for name, want := range map[string]string{"refs/remotes/origin/main": first, "remotes/origin/main": first, "refs/heads/work": r.Head, "tags/work": first} {
			if got, err := r.Resolve(ctx, name); err != nil || got != want {
				t.Errorf("%s: %s, %v; want %s", name, got, err, want)
			}
		}
	}
}
