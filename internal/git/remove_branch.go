package git

import (
	"context"
	"fmt"
	"strings"
)

// RemoveBranch removes a branch that is at the given commit and is checked out
// in no work tree. It reports whether there is none of that name now: one that
// has moved on, or is in use, stays.
func (r *Repo) RemoveBranch(ctx context.Context, name, commit string) (gone bool, err error) {
	ref := "refs/heads/" + name
	at, err := r.output(ctx, "for-each-ref", "--format=%(refname) %(objectname) %(worktreepath)", "--", ref)
	if err != nil {
		return false, fmt.Errorf("looking for branch %s: %w", name, err)
	}
	rest, exists := strings.CutPrefix(strings.TrimSuffix(string(at), "\n"), ref+" ") // else below a directory of that name
	found, tree, _ := strings.Cut(rest, " ")
	switch {
	case !exists:
		return true, nil
	case found != commit || tree != "":
		return false, nil
	}
	if _, err = r.output(ctx, "update-ref", "--no-deref", "-m", "carrel: take back", "-d", ref, commit); err != nil {
		return false, fmt.Errorf("removing branch %s: %w", name, err)
	}
	return true, nil
}
