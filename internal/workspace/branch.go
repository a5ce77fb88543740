package workspace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/git"
)

// BranchOptions say where a change goes, and as whose.
type BranchOptions struct {
	ApplyOptions
	Branch  string   // short name; must not exist
	Message string   // the user's own; "" takes the agent's proposal
	Environ []string // of the host user, for their git settings and signature
	Now     time.Time
}

// Branched is what an apply to a branch did.
type Branched struct {
	git.Commit
	Author string    // as the commit names them
	Files  int       // paths committed
	Left   []LeftOut // paths of the change that no commit can or should hold
	// Journal is to be ended when the apply is recorded and all that follows
	// from it is done. Until then it is an interrupted one.
	Journal *BranchApply
}

// LeftOut is a path that was not committed, and why.
type LeftOut struct {
	Path   carrel.Text `json:"path"`
	Reason string      `json:"reason"`
}

// ErrNoBranch says that the workspace cannot have branches.
var ErrNoBranch = errors.New("the workspace is no git repository with a working tree; apply to the tree instead")

// ApplyBranch commits the files of a change, on top of the commit the agent
// started from, to a new branch, as the host user. The working tree, the index
// and HEAD are not touched. Files that cannot be committed as they were shown
// are a *ConflictError, and nothing is made.
func ApplyBranch(ctx context.Context, g gate.Grant, a carrel.Action, o BranchOptions) (Branched, error) {
	if err := covers(g, a, o.Change, carrel.TargetBranch); err != nil {
		return Branched{}, err
	}
	if o.Repo == nil || o.Repo.Bare {
		return Branched{}, ErrNoBranch
	}
	if err := o.Repo.CheckBranch(ctx, o.Branch); err != nil {
		return Branched{}, err
	}
	who, err := o.Repo.Identity(ctx, o.Environ)
	if err != nil {
		return Branched{}, err
	}
	draft, err := o.Repo.Draft(ctx, o.Change.Base.Commit)
	if err != nil {
		return Branched{}, fmt.Errorf("preparing branch %s: %w", o.Branch, err)
	}
	defer draft.Close()
	p := &branchPlan{opts: o, draft: draft}
	if err := p.plan(ctx); err != nil {
		return Branched{}, err
	}
	done := Branched{Author: fmt.Sprintf("%s <%s>", who.Name, who.Email), Files: len(p.files), Left: p.left}
	if done.Commit, err = draft.Commit(ctx, p.files, commitMessage(o), who, o.Now); err != nil {
		return Branched{}, fmt.Errorf("applying %s to branch %s: %w", o.Change.ID, o.Branch, err)
	}
	if done.Journal, err = beginBranch(o, a, done.Name); err != nil {
		return Branched{}, fmt.Errorf("applying %s to branch %s: %w", o.Change.ID, o.Branch, err)
	}
	if err := draft.Publish(ctx, o.Branch, done.Commit, who); err != nil {
		err = fmt.Errorf("applying %s to branch %s: %w", o.Change.ID, o.Branch, err)
		if gone, gerr := o.Repo.RemoveBranch(context.WithoutCancel(ctx), o.Branch, done.Name); gerr == nil && gone {
			return Branched{}, errors.Join(err, done.Journal.End())
		}
		return Branched{}, errors.Join(err, done.Journal.Release()) // the next command takes it back
	}
	return done, nil
}

// branchPlan turns a change into the files of a commit.
type branchPlan struct {
	opts      BranchOptions
	draft     *git.Draft
	attrs     map[string]git.Attributes
	ignored   map[string]bool
	files     []git.File
	left      []LeftOut
	conflicts []Conflict
}

func (p *branchPlan) plan(ctx context.Context) error {
	c := p.opts.Change
	paths := make([]string, 0, len(c.Files))
	for _, f := range c.Files {
		if err := checkPath(string(f.Path)); err != nil {
			return err
		}
		if p.draft.Within(string(f.Path)) == "" { // git answers for its own files only
			paths = append(paths, string(f.Path))
		}
	}
	var err error
	if p.attrs, err = p.draft.Attributes(ctx, paths); err != nil {
		return err
	}
	if p.ignored, err = p.ignoredPaths(ctx, paths); err != nil {
		return err
	}
	for i := range c.Files {
		if err := p.planFile(ctx, &c.Files[i]); err != nil {
			return fmt.Errorf("checking %q: %w", c.Files[i].Path, err)
		}
	}
	if len(p.conflicts) > 0 {
		return &ConflictError{Change: c.ID, Conflicts: p.conflicts, Branch: true}
	}
	if len(p.files) == 0 {
		return fmt.Errorf("nothing of %s can be committed: what it changes is left out (%d in all, the first: %q, %s); apply to the tree instead", c.ID, len(p.left), p.left[0].Path, p.left[0].Reason)
	}
	return nil
}

// maxRules bounds one .gitignore file.
const maxRules = 1 << 20

// ignoredPaths asks what git would not add, by the .gitignore files of the
// base as the change leaves them.
func (p *branchPlan) ignoredPaths(ctx context.Context, paths []string) (map[string]bool, error) {
	rules := make(map[string][]byte)
	for _, f := range p.opts.Change.Files {
		if name := string(f.Path); name != ".gitignore" && !hasBase(name, ".gitignore") {
			continue
		}
		switch f.Kind {
		case carrel.FileNone:
			rules[string(f.Path)] = nil
		case carrel.FileRegular:
			content, err := p.opts.Blobs.Read(f.Digest, maxRules)
			if err != nil {
				return nil, err
			}
			rules[string(f.Path)] = append([]byte{}, content...)
		}
	}
	return p.draft.Ignored(ctx, paths, rules)
}

func hasBase(path, base string) bool {
	return len(path) > len(base) && path[len(path)-len(base)-1:] == "/"+base
}

func (p *branchPlan) planFile(ctx context.Context, f *carrel.FileChange) error {
	path := string(f.Path)
	base, tracked := p.draft.Base(path)
	switch {
	case p.draft.Within(path) != "":
		p.refuse(f, fmt.Sprintf("it lies in the submodule %q, which has a repository of its own; apply to the tree and commit there", p.draft.Within(path)))
	case f.Kind == carrel.FileSpecial:
		p.refuse(f, "it is neither a file nor a link")
	case p.ignored[path]:
		p.left = append(p.left, LeftOut{f.Path, "git ignores it"})
	case f.Kind == carrel.FileDir && !tracked:
		if f.Before.Kind == carrel.FileNone && !p.opts.fills(f) {
			p.left = append(p.left, LeftOut{f.Path, "git keeps no empty directories"})
		}
	case f.Kind == carrel.FileNone && !tracked:
		if f.Before.Kind != carrel.FileDir {
			p.left = append(p.left, LeftOut{f.Path, "it is deleted, and was never committed"})
		}
	default:
		return p.planTracked(ctx, f, base)
	}
	return nil
}

// fills reports whether the change puts something into directory d.
func (o *BranchOptions) fills(d *carrel.FileChange) bool {
	prefix := d.Path + "/"
	for _, f := range o.Change.Files {
		if len(f.Path) > len(prefix) && f.Path[:len(prefix)] == prefix && f.Kind != carrel.FileNone {
			return true
		}
	}
	return false
}

// planTracked adds a file that belongs in the commit.
func (p *branchPlan) planTracked(ctx context.Context, f *carrel.FileChange, base git.Entry) error {
	attrs := p.attrs[string(f.Path)]
	if why := attrs.Refused(); why != "" && f.Kind == carrel.FileRegular {
		p.refuse(f, why+"; apply to the tree instead")
		return nil
	}
	clean, err := p.wasCommitted(ctx, f, base)
	if err != nil {
		return err
	}
	if !clean {
		p.refuse(f, "it holds work of yours that is not in the commit the agent began with, which the branch would hold, too; apply to the tree instead, or commit it as it was then and run the agent again")
		return nil
	}
	file := git.File{Path: string(f.Path)}
	switch {
	case f.Kind == carrel.FileLink:
		file.Mode, file.Open = git.ModeLink, linkContent(f)
	case f.Kind == carrel.FileRegular && attrs.Converts():
		if f.Size > maxConvert {
			p.refuse(f, "it is too long to convert its line ends as .gitattributes asks; apply to the tree instead")
			return nil
		}
		file.Mode, file.Open = fileMode(f), p.converted(ctx, f, attrs, base)
	case f.Kind == carrel.FileRegular:
		file.Mode, file.Open = fileMode(f), p.content(f)
	}
	p.files = append(p.files, file)
	return nil
}

func fileMode(f *carrel.FileChange) string {
	if f.Mode&0o100 != 0 {
		return git.ModeExecutable
	}
	return git.ModeFile
}

func (p *branchPlan) refuse(f *carrel.FileChange, why string) {
	p.conflicts = append(p.conflicts, Conflict{Path: f.Path, Reason: why, Theirs: f.FileState})
}
