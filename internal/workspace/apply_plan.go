package workspace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/git"
	"golang.org/x/sys/unix"
)

// applyPlan is what an apply will do: found without writing anything.
type applyPlan struct {
	opts    ApplyOptions
	tree    *applyTree
	steps   []applyStep
	already []carrel.Text
	// made are the directories the change makes, by path: what lies below
	// them is staged inside them.
	made      map[string]bool
	inside    map[string][]*carrel.FileChange // by the topmost made directory
	gone      map[string]bool                 // paths the change deletes
	writable  map[string]string               // by path of a directory: why it cannot be written, or ""
	base      map[string]git.Entry
	conflicts []Conflict
	points    sync.Mutex // serialises calls of opts.at
}

// planApply checks every path and returns the steps, or a *ConflictError that
// names everything that stands against the change.
func planApply(ctx context.Context, o ApplyOptions) (*applyPlan, error) {
	c := o.Change
	if c.Base.Stamp.IsZero() {
		return nil, fmt.Errorf("change %s does not say when its run started", c.ID)
	}
	tree, err := openApplyTree(string(c.Workspace))
	if err != nil {
		return nil, err
	}
	p := &applyPlan{
		opts: o, tree: tree, made: make(map[string]bool), inside: make(map[string][]*carrel.FileChange),
		gone: make(map[string]bool), writable: make(map[string]string),
	}
	for _, f := range c.Files {
		p.gone[string(f.Path)] = f.Kind == carrel.FileNone
	}
	if err = p.lookUpBase(ctx); err == nil {
		err = p.planFiles(ctx)
	}
	if err == nil && len(p.conflicts) > 0 {
		if err = p.keepConflicts(ctx); err == nil {
			err = &ConflictError{Change: c.ID, Conflicts: p.conflicts, Plain: p.opts.Repo == nil}
		}
	}
	if err != nil {
		tree.Close()
		return nil, err
	}
	slices.SortStableFunc(p.steps, compareSteps)
	for i := range p.steps {
		s := &p.steps[i]
		s.Work = fmt.Sprintf("%s/n%d", roomOf(i), i)
		s.Mount = carrel.Text(tree.mounts.of(path.Dir(string(s.Path))))
	}
	return p, nil
}

// compareSteps makes room first, deepest paths first, and fills it top down.
func compareSteps(a, b applyStep) int {
	if d := stepOrder[a.Kind] - stepOrder[b.Kind]; d != 0 {
		return d
	}
	if stepOrder[a.Kind] == 0 {
		return strings.Compare(string(b.Path), string(a.Path))
	}
	return strings.Compare(string(a.Path), string(b.Path))
}

func (p *applyPlan) lookUpBase(ctx context.Context) (err error) {
	if p.opts.Repo == nil || p.opts.Change.Base.Commit == "" {
		return nil
	}
	paths := make([]string, len(p.opts.Change.Files))
	for i, f := range p.opts.Change.Files {
		paths[i] = string(f.Path)
	}
	p.base, err = p.opts.Repo.Entries(ctx, p.opts.Change.Base.Commit, paths)
	if errors.Is(err, git.ErrFailed) && ctx.Err() == nil {
		// The commit is gone, or git is. Without a base more is a conflict, and
		// what did not move can still be applied.
		p.base, err = nil, nil
	}
	return err
}

func (p *applyPlan) planFiles(ctx context.Context) error {
	last := carrel.Text("")
	for i := range p.opts.Change.Files {
		f := &p.opts.Change.Files[i]
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := checkPath(string(f.Path)); err != nil {
			return err
		}
		if f.Path <= last {
			return fmt.Errorf("change %s does not list its files in order", p.opts.Change.ID)
		}
		last = f.Path
		if err := p.planFile(f); err != nil {
			return fmt.Errorf("checking %q: %w", f.Path, err)
		}
	}
	return nil
}

// planFile adds the steps for one path, or a conflict.
func (p *applyPlan) planFile(f *carrel.FileChange) error {
	rel := string(f.Path)
	if f.Kind == carrel.FileSpecial || f.Before.Kind == carrel.FileSpecial {
		p.conflict(f, unix.Stat_t{}, "it is neither a file, a link nor a directory, and such are never applied")
		return nil
	}
	if f.Kind != carrel.FileNone && f.Before.Kind == carrel.FileNone {
		p.imply(f)
	}
	if top := p.madeAbove(rel); top != "" {
		if isBlob(p.base[rel]) && p.dirTouched(f) {
			p.conflict(f, unix.Stat_t{}, "you deleted its directory since the agent began")
			return nil
		}
		if f.Before.Kind == carrel.FileNone {
			p.made[rel] = f.Kind == carrel.FileDir
			p.inside[top] = append(p.inside[top], f)
		}
		return nil // what was there before is planned by its own deletion
	}
	now, err := p.tree.lstat(rel)
	if err == unix.ENOTDIR && f.Kind == carrel.FileNone {
		now, err = unix.Stat_t{}, nil // gone with the directory it was in
	}
	if why, known := lookupProblem(err); known {
		p.conflict(f, unix.Stat_t{}, why)
		return nil
	}
	if err != nil {
		return err
	}
	return p.planReached(f, now)
}

func (p *applyPlan) planReached(f *carrel.FileChange, now unix.Stat_t) error {
	same, err := p.isAlready(f, &now)
	if err != nil {
		return err
	}
	if same {
		p.already = append(p.already, f.Path)
		return nil
	}
	why, sum, err := p.moved(f, &now)
	if err != nil {
		return err
	}
	if why != "" && p.butForMode(f, &now) {
		why = fmt.Sprintf("it is what the agent made of it but for its mode; chmod %o makes it the same", f.Mode&0o777)
	}
	if why == "" {
		why = p.forbidden(f)
	}
	if why == "" && now.Nlink > 0 && os.Geteuid() != 0 && int(now.Uid) != os.Geteuid() && f.Kind != carrel.FileNone {
		why = fmt.Sprintf("it belongs to another user (uid %d), and replacing it would take it over", now.Uid)
	}
	if why != "" {
		p.conflict(f, now, why)
		return nil
	}
	old := oldStateOf(&now)
	old.Sum = sum
	p.addSteps(f, old)
	return nil
}

// addSteps turns one alteration into steps.
func (p *applyPlan) addSteps(f *carrel.FileChange, old oldState) {
	before, after := f.Before.Kind, f.Kind
	add := func(kind stepKind) {
		p.steps = append(p.steps, applyStep{Kind: kind, Path: f.Path, Mode: f.Mode & 0o777, Digest: f.Digest, Old: old, file: f})
	}
	sameContent := before == after && f.Before.Digest == f.Digest && f.Before.Size == f.Size
	switch {
	case before == carrel.FileDir && after == carrel.FileDir, sameContent && after == carrel.FileRegular:
		add(stepMode)
		return
	case before == carrel.FileDir:
		add(stepRmdir)
	case before != carrel.FileNone && (after == carrel.FileNone || after == carrel.FileDir):
		add(stepTake)
	case before != carrel.FileNone:
		add(stepSwap)
		return
	}
	if after == carrel.FileNone {
		return
	}
	if after == carrel.FileDir {
		p.made[string(f.Path)] = true
	}
	add(stepPut)
	p.steps[len(p.steps)-1].Old = oldState{}
}

// kindOf is the kind of what applyTree.lstat found.
func kindOf(st *unix.Stat_t) carrel.FileKind {
	if st.Nlink == 0 {
		return carrel.FileNone
	}
	return kindOfMode(st.Mode)
}
