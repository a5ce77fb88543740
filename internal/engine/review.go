//go:build linux

package engine

import (
	"context"
	"fmt"
	"io"

	"github.com/carrel-dev/carrel/internal/review"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// Review shows a change and notes that it was shown: it is the one that
// approve, deny and apply act on next.
func (e *Engine) Review(ctx context.Context, sel Selection, opts ReviewOptions) error {
	if err := e.recoverApplies(ctx); err != nil {
		return err
	}
	if sel.ID == "" {
		if err := e.takeUnfinished(ctx, sel.Workspace); err != nil {
			return err
		}
	}
	s, err := e.find(ctx, sel, (*workspace.Workspace).LatestChange)
	if err != nil {
		return err
	}
	if opts.JSON {
		document, err := review.JSON(s.change, string(s.entry.State))
		if err != nil {
			return err
		}
		if err := e.printJSON(document); err != nil {
			return err
		}
	} else if err := e.page(ctx, s, opts); err != nil {
		return err
	}
	return s.ws.MarkShown(s.entry.ID)
}

func (e *Engine) page(ctx context.Context, s selected, opts ReviewOptions) error {
	conflicts, err := e.conflicts(ctx, s)
	if err != nil {
		return err
	}
	show := review.Options{
		Color: terminal.Colors(e.host.Stdout, opts.NoColor),
		Stat:  opts.Stat, State: string(s.entry.State), Conflicts: conflicts,
	}
	pager := terminal.PagerOptions{Off: opts.NoPager, Environ: e.host.Environ}
	err = terminal.Page(ctx, e.host.Stdout, pager, func(w io.Writer) error {
		return review.Render(w, s.change, e.blobs, show)
	})
	if err != nil || s.entry.State != workspace.ChangePending {
		return err
	}
	if who := e.otherIdentity(ctx, s.ws.Repository()); who != "" {
		fmt.Fprintf(e.host.Stderr, "carrel: with --branch, %s\n", terminal.Escape(who))
	}
	fmt.Fprintf(e.host.Stderr, "carrel: next: carrel approve --reason \"…\", then carrel apply [--branch NAME]; or carrel deny, carrel discard\n")
	return nil
}

// conflicts says what has moved in the tree since the change was made.
func (e *Engine) conflicts(ctx context.Context, s selected) ([]review.Conflict, error) {
	if s.entry.State != workspace.ChangePending {
		return nil, nil
	}
	found, err := workspace.FindConflicts(ctx, workspace.ApplyOptions{Change: s.change, Blobs: e.blobs, State: e.host.Paths.State, Repo: s.ws.Repository()})
	if err != nil {
		return nil, fmt.Errorf("comparing with the tree: %w", err)
	}
	var out []review.Conflict
	for _, c := range found {
		out = append(out, review.Conflict{Path: c.Path, Reason: c.Reason, ThreeWay: c.ThreeWay, Base: c.Base, Ours: c.Ours})
	}
	return out, nil
}
