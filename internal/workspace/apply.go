package workspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/blob"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/git"
)

// ApplyOptions say what is applied and what it is checked against.
type ApplyOptions struct {
	Change *carrel.Change
	Blobs  *blob.Store // holds the frozen content
	State  string      // Carrel's state directory: journals lie below it
	Repo   *git.Repo   // of the workspace; nil outside git

	// at is called before each step of an apply, once at a time; tests fail and
	// kill there.
	at func(point string) error
}

// Applied is what an apply to the tree did.
type Applied struct {
	Files   int           // paths altered
	Already []carrel.Text // paths that were as the change wants them
	// Journal is to be ended when the apply is recorded and all that follows
	// from it is done; nil where nothing was altered. Until then it is an
	// interrupted one.
	Journal *TreeApply
}

// PublishAction is the action that Apply and ApplyBranch need a grant for. It
// has its ID: the next command looks by it whether an apply that was
// interrupted is recorded.
func PublishAction(c *carrel.Change, target string, auto bool) (carrel.Action, error) {
	digest, err := c.Digest()
	if err != nil {
		return carrel.Action{}, err
	}
	return carrel.Action{ID: carrel.NewActionID(), Run: c.Run, Operation: carrel.OpPublish, Publication: &carrel.Publication{
		Change: c.ID, Digest: digest, Target: target, Auto: auto,
		Files: len(c.Files), Withheld: len(c.Withheld), Risk: c.Risk,
	}}, nil
}

// covers checks that the grant is for publishing exactly this change there.
func covers(g gate.Grant, a carrel.Action, c *carrel.Change, target string) error {
	if err := g.Covers(a); err != nil {
		return err
	}
	digest, err := c.Digest()
	if err != nil {
		return err
	}
	p := a.Publication
	if a.Operation != carrel.OpPublish || p == nil || p.Change != c.ID || p.Target != target || !p.Digest.Equal(digest) {
		return fmt.Errorf("the action is not about publishing %s to the %s: %w", c.ID, target, gate.ErrNoGrant)
	}
	return nil
}

// Apply puts the files of a change into the workspace's tree: all of them or
// none. Nothing is overwritten that is not what the change was made from: all
// that has moved is found before the first write and returned as a
// *ConflictError. After an error the tree is as before, and if even that could
// not be done, the error says so and RecoverApplies goes on with it. What it
// replaced is kept until the apply is recorded, which is the caller's to say.
func Apply(ctx context.Context, g gate.Grant, a carrel.Action, o ApplyOptions) (Applied, error) {
	if err := covers(g, a, o.Change, carrel.TargetTree); err != nil {
		return Applied{}, err
	}
	lock, err := lockApplies(o.State, string(o.Change.Workspace))
	if err != nil {
		return Applied{}, err
	}
	done, err := apply(ctx, lock, a.ID, o)
	if err != nil || done.Journal == nil {
		lock.Close()
	}
	return done, err
}

func apply(ctx context.Context, lock *os.File, action carrel.ActionID, o ApplyOptions) (Applied, error) {
	// Where an earlier apply left something behind the tree is not what it
	// seems. Recovering it is an action of its own.
	if left, err := journalsOf(o.State, o.Change.Workspace); err != nil || len(left) > 0 {
		return Applied{}, cmp.Or(err, ErrInterrupted)
	}
	p, err := planApply(ctx, o)
	if err != nil {
		return Applied{}, err
	}
	done := Applied{Files: len(o.Change.Files) - len(p.already), Already: p.already}
	if len(p.steps) == 0 {
		p.tree.Close()
		return done, nil
	}
	j, err := p.carryOut(ctx, action)
	if err != nil {
		p.tree.Close()
		return Applied{}, fmt.Errorf("applying %s: %w", o.Change.ID, err)
	}
	done.Journal = &TreeApply{j, p.tree, lock}
	return done, nil
}

// FindConflicts reports what an apply to the tree would refuse now, without
// touching the tree.
func FindConflicts(ctx context.Context, o ApplyOptions) ([]Conflict, error) {
	p, err := planApply(ctx, o)
	var conflict *ConflictError
	switch {
	case errors.As(err, &conflict):
		return conflict.Conflicts, nil
	case err != nil:
		return nil, err
	}
	p.tree.Close()
	return nil, nil
}

// carryOut stages, journals and makes the steps of a plan. What was made stays
// in the journal, as something to be taken back.
func (p *applyPlan) carryOut(ctx context.Context, action carrel.ActionID) (*applyJournal, error) {
	j, err := p.begin(action)
	if err != nil {
		return nil, err
	}
	err = p.stage(ctx, j)
	if err == nil {
		err = p.swap(ctx, j)
	}
	if err == nil {
		err = j.made(p.tree)
	}
	if err == nil {
		err = p.point("made")
	}
	if err != nil {
		return nil, errors.Join(err, j.rollBack(p.tree))
	}
	return j, nil
}

func (p *applyPlan) point(name string) error {
	if p.opts.at == nil {
		return nil
	}
	p.points.Lock()
	defer p.points.Unlock()
	return p.opts.at(name)
}
