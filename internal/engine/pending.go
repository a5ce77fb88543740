//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// Pending lists the actions that wait for an answer, and the changes of this
// workspace that do.
func (e *Engine) Pending(ctx context.Context, asJSON bool) error {
	if err := e.PendingActions(asJSON); err != nil {
		return err
	}
	ws, err := e.workspaceAt(ctx, "")
	if errors.Is(err, workspace.ErrRefused) { // as in the home: no change can wait there
		return nil
	}
	if err != nil {
		return err
	}
	all, err := ws.Changes()
	if err != nil {
		return err
	}
	for _, entry := range all {
		if entry.State != workspace.ChangePending {
			continue
		}
		waits := pendingChange{ChangeEntry: entry}
		if waits.Answered, err = e.answeredBy(ws, entry); err == nil && asJSON {
			err = e.printLine(waits)
		} else if err == nil {
			err = e.printPendingChange(ws, waits)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pendingChange is a change at a desk, and the answer that it has already.
type pendingChange struct {
	workspace.ChangeEntry
	Answered *carrel.Approval `json:"answered,omitempty"`
}

// answeredBy looks for a living answer to a change that is still at its desk.
func (e *Engine) answeredBy(ws *workspace.Workspace, entry workspace.ChangeEntry) (*carrel.Approval, error) {
	answers, err := e.answers()
	if answers == nil || err != nil {
		return nil, err
	}
	c, err := ws.LoadChange(entry)
	if err != nil {
		return nil, err
	}
	publish, err := workspace.PublishAction(c, carrel.TargetTree, false)
	if err != nil {
		return nil, err
	}
	digest, err := publish.Digest()
	if err != nil {
		return nil, err
	}
	p, found, err := answers.Lookup(digest)
	if !found || err != nil || !time.Now().Before(p.Expires) {
		return nil, err
	}
	return &p, nil
}

func (e *Engine) printPendingChange(ws *workspace.Workspace, c pendingChange) error {
	next := "carrel review, then carrel approve or carrel deny"
	if a := c.Answered; a != nil && a.Granted {
		next = "approved by " + terminal.Escape(string(a.By)) + "; " + applyForms(ws)
	} else if a != nil {
		next = "denied by " + terminal.Escape(string(a.By)) + "; carrel discard"
	}
	_, err := fmt.Fprintf(e.host.Stdout, "%s  digest %s  taken %s  by %s  %s\n", c.ID, c.Digest.Short(), c.Taken.Local().Format(time.DateTime), c.Run, next)
	return err
}
