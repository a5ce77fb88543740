//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/term"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/config"
)

// Trust shows what the repository's configuration grants and accepts exactly
// that.
func (e *Engine) Trust(ctx context.Context, opts TrustOptions) error {
	ws, err := e.workspaceAt(ctx, "")
	if err != nil {
		return err
	}
	repo := ws.Repository()
	file, err := e.readRepository(ctx, repo)
	if err != nil {
		return err
	}
	if file == nil && opts.JSON {
		return e.printJSON(map[string]any{"grants": []config.Grant{}, "new": []config.Grant{}})
	}
	if file == nil {
		fmt.Fprintf(e.host.Stdout, "the commit that is checked out has neither %s nor %s: there is nothing to accept\n", config.RepositoryPath, repositoryPolicy)
		return nil
	}
	id, err := repositoryID(ctx, ws, repo)
	if err != nil {
		return err
	}
	grants := file.grants()
	if opts.Revoke {
		return e.changeTrust(ctx, "revoke", id, nil, func() error { return e.trust().Forget(id) })
	}
	fresh, err := e.trust().Fresh(id, grants)
	if err != nil {
		return err
	}
	if opts.JSON && !opts.Yes {
		return e.printJSON(map[string]any{"repository": id, "grants": grants, "new": fresh})
	}
	e.showGrants(grants, fresh)
	if len(fresh) == 0 {
		return nil
	}
	if err := e.confirmTrust(ctx, opts); err != nil {
		return err
	}
	return e.changeTrust(ctx, "accept", id, grants, func() error { return e.trust().Accept(id, grants) })
}

func (e *Engine) showGrants(grants, fresh []config.Grant) {
	isNew := map[string]bool{}
	for _, g := range fresh {
		isNew[g.String()] = true
	}
	fmt.Fprintf(e.host.Stdout, "%s grants:\n", config.RepositoryPath)
	for _, g := range grants {
		mark := "accepted"
		if isNew[g.String()] {
			mark = "new"
		}
		fmt.Fprintf(e.host.Stdout, "  %-8s %s\n", mark, g)
	}
	if len(grants) == 0 {
		fmt.Fprintln(e.host.Stdout, "  nothing")
	}
}

func (e *Engine) confirmTrust(ctx context.Context, opts TrustOptions) error {
	if opts.Yes {
		return nil
	}
	if !term.IsTerminal(int(e.host.Stdin.Fd())) {
		return &hintError{errors.New("accepting needs your word"), "run on a terminal, or say --yes"}
	}
	yes, err := e.yes(ctx, "Accept these grants for this repository?")
	if err == nil && !yes {
		err = errors.New("nothing was accepted")
	}
	return err
}

// changeTrust puts the acceptance on the one road: it widens what policy
// allows, so it is recorded before it counts.
func (e *Engine) changeTrust(ctx context.Context, what string, id config.RepositoryID, grants []config.Grant, effect func() error) error {
	digest, err := config.GrantsDigest(grants)
	if err != nil {
		return err
	}
	a := carrel.Action{Operation: carrel.OpPolicy, Subject: "trust:" + what + ":" + id.Workspace, SubjectDigest: digest, Reason: carrel.Text(strings.Join(stringsOf(grants), "; "))}
	err = e.operate(ctx, a, func(context.Context) (carrel.Outcome, error) { return carrel.Outcome{}, effect() })
	if err != nil {
		return err
	}
	if what == "revoke" {
		fmt.Fprintln(e.host.Stdout, "revoked: nothing that this repository asks for is accepted")
		return nil
	}
	fmt.Fprintf(e.host.Stdout, "%sed: %s\n", strings.TrimSuffix(what, "e"), plural(len(grants), "grant"))
	return nil
}
