package git

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRange(t *testing.T) {
	dir := sample(t)
	base := open(t, dir).Head
	var want []string
	for _, name := range []string{"one", "two", "three"} {
		write(t, filepath.Join(dir, name), name)
		plain(t, dir, "add", ".")
		plain(t, dir, "commit", "-qm", name)
		want = append(want, open(t, dir).Head)
	}
	r, ctx := open(t, dir), context.Background()
	if got, err := r.Range(ctx, base, r.Head, 3); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	if got, err := r.Range(ctx, r.Head, base, 3); err != nil || len(got) != 0 {
		t.Errorf("nothing between: %v, %v", got, err)
	}
	if got, err := r.Range(ctx, base, r.Head, 2); err == nil || !strings.Contains(err.Error(), "more than 2") {
		t.Errorf("over the limit: %v, %v", got, err)
	}
	if got, err := r.Range(ctx, base, "--all", 3); err == nil {
		t.Errorf("an option as a commit: %v", got)
	}
	// A replacement shows another history than there is.
	plain(t, dir, "replace", "--graft", want[2], base)
	if got, err := r.Range(ctx, base, r.Head, 3); err != nil || len(got) != 3 {
		t.Errorf("with a replaced commit: %v, %v", got, err)
	}
}

// In a history that was cut, commits of the range may not be here: that is not
// the same as a short range.
func TestAttackRangeOfCutHistory(t *testing.T) {
	origin := sample(t)
	base := open(t, origin).Head
	for _, name := range []string{"one", "two"} {
		write(t, filepath.Join(origin, name), name)
		plain(t, origin, "add", ".")
		plain(t, origin, "commit", "-qm", name)
	}
	dir := filepath.Join(t.TempDir(), "shallow")
	plain(t, origin, "clone", "-q", "--depth=1", "file://"+origin, dir)
	plain(t, dir, "config", "protocol.file.allow", "always")
	plain(t, dir, "fetch", "-q", "--depth=1", "origin", base)
	r := open(t, dir)
	if got, err := r.Range(context.Background(), base, r.Head, 10); !errors.Is(err, ErrCut) {
		t.Errorf("%v, %v", got, err)
	}
	plain(t, dir, "fetch", "-q", "--unshallow")
	r = open(t, dir)
	if got, err := r.Range(context.Background(), base, r.Head, 10); err != nil || len(got) != 2 {
		t.Errorf("whole: %v, %v", got, err)
	}
}
