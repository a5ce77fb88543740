//go:build linux

package engine

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"

	"golang.org/x/term"

	"github.com/carrel-dev/carrel"
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
	if opts.Content != "" {
		return e.printContent(s.change, opts)
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

// maxContent bounds the file that is printed.
const maxContent = 256 << 20

// printContent writes one file of a change, byte for byte, so that a user whose
// own file stands in its way can put it there by hand. An agent wrote it: a
// terminal might act on it.
func (e *Engine) printContent(c *carrel.Change, opts ReviewOptions) error {
	if opts.JSON || opts.Stat {
		return misused("--content prints one file as it is: leave --json and --stat out")
	}
	name := opts.Content
	i := slices.IndexFunc(c.Files, func(f carrel.FileChange) bool { return string(f.Path) == path.Clean(name) })
	if i < 0 {
		return misused("--content %s: %s changes no file of that name: carrel review %[2]s --stat lists them, by their paths in the workspace", name, c.ID)
	}
	f := &c.Files[i]
	switch {
	case f.Kind == carrel.FileNone:
		return misused("--content %s: the agent deleted it", name)
	case f.Kind == carrel.FileLink:
		return misused("--content %s: it is a link: ln -s %q makes it", name, f.Target)
	case f.Kind != carrel.FileRegular:
		return misused("--content %s: it has no content, the change makes it: %s", name, f.Kind)
	case term.IsTerminal(int(e.host.Stdout.Fd())):
		return misused("--content %s: a terminal could act on what it says: carrel review %s --content %[1]s >FILE", name, c.ID)
	}
	content, err := e.blobs.Read(f.Digest, maxContent)
	if err != nil {
		return fmt.Errorf("reading %s of %s: %w", name, c.ID, err)
	}
	_, err = e.host.Stdout.Write(content)
	return err
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
	fmt.Fprintf(e.host.Stderr, "carrel: next: carrel approve --reason \"…\", then %s; or carrel deny, carrel discard\n", applyForms(s.ws))
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
