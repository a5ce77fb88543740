//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// workspaceAt opens the workspace of dir, or of the current directory.
func (e *Engine) workspaceAt(ctx context.Context, dir string) (*workspace.Workspace, error) {
	if dir == "" {
		dir = e.host.Cwd
	}
	return workspace.Open(ctx, dir, workspace.Options{
		State: e.host.Paths.State, Home: e.host.Home, Blobs: e.blobs,
	})
}

// selected is a change that a verb acts on.
type selected struct {
	ws     *workspace.Workspace
	entry  workspace.ChangeEntry
	change *carrel.Change
}

// find returns the change that sel names. Without a name it is what pick
// says: the change shown last for verbs that act, the newest for those that
// show.
func (e *Engine) find(ctx context.Context, sel Selection, pick func(*workspace.Workspace) (workspace.ChangeEntry, error)) (selected, error) {
	ws, err := e.workspaceOf(ctx, sel)
	if err != nil {
		return selected{}, err
	}
	entry, err := named(ws, sel.ID)
	if sel.ID == "" {
		entry, err = pick(ws)
	}
	if err != nil {
		return selected{}, explainSelection(ws, sel.ID, err)
	}
	if err := checkDigest("change "+string(entry.ID), entry.Digest, sel.Digest, "run `carrel review` and look again"); err != nil {
		return selected{}, err
	}
	change, err := ws.LoadChange(entry)
	if err != nil {
		return selected{}, err
	}
	return selected{ws, entry, change}, nil
}

// workspaceOf opens the workspace that sel is about: an identifier names its
// own, wherever one stands.
func (e *Engine) workspaceOf(ctx context.Context, sel Selection) (*workspace.Workspace, error) {
	if sel.ID == "" {
		return e.workspaceAt(ctx, sel.Workspace)
	}
	made, err := e.madeIn(sel.ID)
	if err != nil {
		return nil, err
	}
	ws, err := e.workspaceAt(ctx, made)
	if err != nil {
		return nil, fmt.Errorf("the workspace of %s: %w", sel.ID, err)
	}
	if sel.Workspace != "" {
		said, err := e.workspaceAt(ctx, sel.Workspace)
		if err != nil {
			return nil, err
		}
		if said.Root() != ws.Root() {
			return nil, &hintError{fmt.Errorf("%s is of %s, not of %s", sel.ID, ws.Root(), said.Root()), "leave --workspace out, or name a change of that workspace"}
		}
	}
	return ws, nil
}

// madeIn is the workspace of a change or a run.
func (e *Engine) madeIn(id string) (string, error) {
	if strings.HasPrefix(id, "run_") {
		r, err := e.loadRun(carrel.RunID(id))
		if err != nil {
			return "", err
		}
		return string(r.Workspace), nil
	}
	if err := checkID(id, "chg_"); err != nil {
		return "", err
	}
	entry, err := workspace.ReadChange(e.host.Paths.State, carrel.ChangeID(id))
	if errors.Is(err, workspace.ErrNoChange) {
		return "", &hintError{err, whereNamed["chg_"]}
	}
	return string(entry.Workspace), err
}

// named finds a change by its id, or by the id of its run.
func named(ws *workspace.Workspace, id string) (workspace.ChangeEntry, error) {
	if !strings.HasPrefix(id, "run_") {
		if err := checkID(id, "chg_"); err != nil {
			return workspace.ChangeEntry{}, err
		}
		return ws.Change(carrel.ChangeID(id))
	}
	all, err := ws.Changes()
	if err != nil {
		return workspace.ChangeEntry{}, err
	}
	for i := len(all) - 1; i >= 0; i-- {
		if string(all[i].Run) == id {
			return all[i], nil
		}
	}
	return workspace.ChangeEntry{}, fmt.Errorf("run %s: %w", id, workspace.ErrNoChange)
}

// explainSelection adds what to do next.
func explainSelection(ws *workspace.Workspace, id string, err error) error {
	switch {
	case errors.Is(err, workspace.ErrOtherVersion):
		return err
	case errors.Is(err, workspace.ErrNoChange) && id != "":
		return &hintError{fmt.Errorf("%w in %s", err, ws.Root()), whereNamed["chg_"]}
	case errors.Is(err, workspace.ErrNewerChange):
		return &hintError{err, "run `carrel review` to see the newer one, or name the one you mean"}
	case errors.Is(err, workspace.ErrNoChange):
		if _, latest := ws.LatestChange(); latest == nil {
			return &hintError{fmt.Errorf("no change has been shown in %s yet", ws.Root()), "run `carrel review` first"}
		}
		return &hintError{fmt.Errorf("no change is waiting in %s", ws.Root()), "run an agent with `carrel run -- COMMAND`, or see `carrel runs`"}
	}
	return err
}
