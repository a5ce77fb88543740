//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/git"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// repositoryPolicy is where a repository keeps Rego of its own, without
// directories below.
const repositoryPolicy = ".carrel/policy/"

// fromRepository is what .carrel of the base commit says. nil: nothing.
type fromRepository struct {
	config *config.File // nil: no configuration
	policy []policy.File
}

// readRepository reads .carrel as the base commit has it. That a commit has
// none is remembered: a commit's name covers its content, and most have none,
// so that most runs need no git.
func (e *Engine) readRepository(ctx context.Context, repo *git.Repo) (*fromRepository, error) {
	if repo == nil || repo.Head == "" {
		return nil, nil
	}
	none := e.state("plain-commits", repo.Head)
	if _, known := recall(none); known {
		return nil, nil
	}
	entries, err := repo.Entries(ctx, repo.Head, []string{config.RepositoryPath, repositoryPolicy})
	if err != nil {
		return nil, fmt.Errorf("reading .carrel of the base commit: %w", err)
	}
	out := &fromRepository{}
	for _, name := range sortedKeys(entries) {
		entry := entries[name]
		isPolicy := strings.HasPrefix(name, repositoryPolicy) && strings.HasSuffix(name, ".rego") && !strings.HasSuffix(name, "_test.rego")
		switch {
		case name != config.RepositoryPath && !isPolicy:
			continue
		case entry.Mode != git.ModeFile && entry.Mode != git.ModeExecutable: // to pass over it would be to forget what it narrows
			return nil, fmt.Errorf("%s of the base commit is no regular file, and is not read: commit the file itself", terminal.Escape(name))
		}
		raw, err := repo.ReadBlob(ctx, entry.Object)
		if err != nil {
			return nil, fmt.Errorf("reading %s of the base commit: %w", name, err)
		}
		if isPolicy {
			out.policy = append(out.policy, policy.File{Name: path.Base(name), Source: raw})
			continue
		}
		if out.config, err = config.Parse(config.Source{Layer: config.Repository, Path: config.RepositoryPath}, raw); err != nil {
			return nil, err
		}
	}
	if out.config == nil && len(out.policy) == 0 {
		remember(none, nil)
		return nil, nil
	}
	return out, nil
}

// grants is what the repository asks the user for: what its configuration
// grants, and that its Rego is evaluated.
func (r *fromRepository) grants() []config.Grant {
	if r == nil {
		return nil
	}
	out := config.Grants(r.config)
	if len(r.policy) > 0 {
		var names []string
		for _, f := range r.policy {
			names = append(names, f.Name)
		}
		digest := layerDigest(policy.Layer{Files: r.policy})
		out = append(out, config.Grant{Kind: grantPolicy, Value: fmt.Sprintf("%s (%s)", digest, strings.Join(names, ", "))})
	}
	return out
}

// grantPolicy is the kind of grant that lets a repository's Rego be evaluated.
// It can only narrow.
const grantPolicy = "policy"

// addRepository adds what .carrel of the base commit narrows, and what it
// grants if the user has accepted that.
func (e *Engine) addRepository(ctx context.Context, s *settings, id func() (config.RepositoryID, error), repo *git.Repo) error {
	from, err := e.readRepository(ctx, repo)
	if err != nil || from == nil {
		return err
	}
	s.repo = from.config
	if grants := from.grants(); len(grants) > 0 {
		named, err := id()
		if err != nil {
			return err
		}
		if s.wishes, err = e.trust().Fresh(named, grants); err != nil {
			return err
		}
	}
	wishes := 0 // of the configuration
	accepted := len(from.policy) > 0
	for _, w := range s.wishes {
		if w.Kind == grantPolicy {
			accepted = false
		} else {
			wishes++
		}
	}
	if accepted {
		s.repoPolicy = []policy.Layer{{Name: repositoryLayer, Kind: policy.Repository, Files: from.policy}}
	}
	s.Effective = config.Merge(s.org, s.user, from.config, wishes == 0)
	return nil
}

// repositoryLayer is the name of the layer of a repository's Rego.
const repositoryLayer = "repository"

// ownersOf returns who owns paths of the workspace by CODEOWNERS of a commit,
// which is read when the first path is asked about.
func ownersOf(ctx context.Context, repo *git.Repo, commit string) func(path string) []string {
	rules := sync.OnceValue(func() codeowners {
		if repo == nil || commit == "" {
			return nil
		}
		for _, name := range []string{".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS"} {
			if raw, err := repo.ReadFile(ctx, commit, name); err == nil {
				return parseCodeowners(raw)
			} else if !errors.Is(err, fs.ErrNotExist) {
				return nil // the floor still asks; it cannot say whom
			}
		}
		return nil
	})
	return func(path string) []string {
		rel, ok := strings.CutPrefix(path, carrel.DeskWorkspace+"/")
		if !ok {
			return nil
		}
		return rules().owners(rel)
	}
}

// naming adds the owners of each file to what is decided about it.
func naming(owners func(string) []string, decide func(context.Context, carrel.Action) carrel.Decision) func(context.Context, carrel.Action) carrel.Decision {
	return func(ctx context.Context, a carrel.Action) carrel.Decision {
		a.Owners = owners(a.Path)
		return decide(ctx, a)
	}
}

// owners are those of the run's base commit.
func (v *visit) owners() func(path string) []string {
	return ownersOf(context.Background(), v.repo, v.seat.Base().Commit)
}
