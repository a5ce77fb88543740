package origin

import (
	"context"
	"slices"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/git"
)

// maxCompared bounds the files of a commit that are compared one by one.
const maxCompared = 2000

// Commit says where a commit comes from.
func (f *Finder) Commit(ctx context.Context, name string) (Answer, error) {
	a := Answer{How: Unknown}
	info, err := f.Repo.Commit(ctx, name)
	if err != nil {
		return a, err
	}
	a.Commit = info.Name
	if err := f.prepare(ctx); err != nil {
		return a, err
	}
	a.Lost = f.lost
	for i := range f.published {
		if p := &f.published[i]; p.Commit == a.Commit {
			a.found(ByCommit, p, nil, "the log says that this commit was made from the change")
			return a, nil
		}
	}
	if err := f.compare(ctx, &a, info); err != nil {
		return a, err
	}
	if !a.Agent {
		err = f.claim(ctx, &a)
	}
	return a, err
}

// compare looks for the publication that most of the commit's files come from,
// byte for byte.
func (f *Finder) compare(ctx context.Context, a *Answer, info git.CommitInfo) error {
	changed, err := f.changed(ctx, info)
	if err != nil {
		return err
	}
	a.Changed = len(changed)
	matched := map[*Publication]int{}
	for path, object := range changed {
		if !f.anyTouched(path) {
			continue
		}
		content, err := f.Repo.ReadBlob(ctx, object)
		if err != nil {
			return err
		}
		digest := carrel.DigestBytes(content)
		i := slices.IndexFunc(f.published, func(p Publication) bool {
			file := p.file(path)
			return file != nil && file.Digest.Equal(digest)
		})
		if i >= 0 {
			matched[&f.published[i]]++
		}
	}
	for i := range f.published {
		if p := &f.published[i]; matched[p] > a.Matched {
			a.Matched = matched[p]
			a.found(ByContent, p, nil, "files of the commit are, byte for byte, what the change made them; somebody committed them by other means")
		}
	}
	return nil
}

func (f *Finder) anyTouched(path string) bool {
	return slices.ContainsFunc(f.published, func(p Publication) bool { return p.file(path) != nil })
}

// changed returns the files that a commit has otherwise than its first parent.
func (f *Finder) changed(ctx context.Context, info git.CommitInfo) (map[string]string, error) {
	now, err := f.Repo.All(ctx, info.Name)
	if err != nil {
		return nil, err
	}
	was := map[string]git.Entry{}
	if len(info.Parents) > 0 {
		if was, err = f.Repo.All(ctx, info.Parents[0]); err != nil {
			return nil, err
		}
	}
	out := map[string]string{}
	for path, e := range now {
		if e != was[path] && (e.Mode == git.ModeFile || e.Mode == git.ModeExecutable) && len(out) < maxCompared {
			out[path] = e.Object
		}
	}
	return out, nil
}
