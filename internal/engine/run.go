//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/approval"
	"github.com/carrel-dev/carrel/internal/credential"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native"
	"github.com/carrel-dev/carrel/internal/sandbox/view"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// Run lends a desk to one command and returns the exit code for the shell: the
// command's own, or 125 to 127 with an error.
func (e *Engine) Run(ctx context.Context, opts RunOptions) (int, error) {
	v := &visit{e: e, opts: opts, id: carrel.NewRunID(), tier: opts.Ahead}
	if v.tier == nil {
		v.tier = native.New(native.Options{InstallDir: e.host.Paths.Init()})
	}
	defer v.tier.Discard()
	if err := opts.check(); err != nil {
		return 125, err
	}
	var err error
	if v.who, err = native.Who(); err != nil {
		return 125, err
	}
	v.foundation = sync.OnceValue(func() *view.Foundation { return view.Lay(v.viewHost()) })
	if !opts.DryRun {
		if opts.Ahead == nil {
			v.tier.Prepare() // while everything else is read
		}
		go func() { v.tier.Lay(v.foundation().Mounts) }()
		go e.openLog() // likewise; prepare waits for it
	}
	if err := e.recoverApplies(ctx); err != nil {
		return 125, err
	}
	collectLater()
	err = v.prepare(ctx)
	defer e.pruneNowAndThen(context.WithoutCancel(ctx)) // after close
	defer v.close()
	switch {
	case errors.Is(err, view.ErrNotFound):
		return 127, err
	case errors.Is(err, view.ErrNotExecutable):
		return 126, err
	case err != nil:
		return 125, err
	case opts.DryRun:
		return 0, v.describe()
	}
	return v.run(ctx)
}

// reap removes what killed runs left.
func (e *Engine) reap() error {
	if _, err := native.Reap(e.state("runtime")); err != nil {
		return fmt.Errorf("removing what a killed run left: %w", err)
	}
	return nil
}

// prepare reads everything, decides what the desk is given, and sits the agent
// down. It changes nothing outside Carrel's state.
func (v *visit) prepare(ctx context.Context) (err error) {
	if v.ws, err = v.e.workspaceAt(ctx, v.opts.Workspace); err != nil {
		return err
	}
	if err := view.Check(v.viewHost(), v.ws.Root(), v.opts.Env); err != nil {
		return err
	}
	v.repo = v.ws.Repository()
	if v.settings, err = v.e.userSettings(); err != nil {
		return err
	}
	if v.profile, err = v.chooseProfile(ctx); err != nil {
		return err
	}
	if v.extra, err = v.flagLayers(); err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	if !v.opts.DryRun {
		group.Go(func() (err error) { v.log, err = v.e.openLog(); return err })
	}
	// The settings are complete before anything else reads them: what the
	// repository narrows counts for the seat as well.
	if err := v.addRepository(ctx, v.settings); err != nil {
		return errors.Join(err, group.Wait())
	}
	group.Go(func() error { return v.grant(gctx) })
	if !v.opts.DryRun {
		group.Go(func() error { return v.sit(gctx) })
	}
	group.Go(func() (err error) { v.identity, err = v.gitIdentity(gctx); return err })
	if err := group.Wait(); err != nil {
		return err
	}
	if v.opts.DryRun {
		if err := v.sit(ctx); err != nil {
			return err
		}
	}
	return v.furnish()
}

// sit takes a seat at the workspace, with what is there of earlier work.
func (v *visit) sit(ctx context.Context) (err error) {
	staging := v.opts.Staging
	if staging == "" {
		staging = v.settings.Staging.Value
	}
	opts := workspace.SeatOptions{
		Agent: v.profile.Name, Fresh: v.opts.Fresh, Staging: workspace.Staging(staging),
		Probe: native.OverlayWorks, Progress: v.copyProgress(),
	}
	if v.who.Borrowed {
		opts.OwnerUID, opts.OwnerGID = v.who.Outside, v.who.Group
	}
	v.seat, err = v.ws.Take(ctx, opts)
	return err
}

// run takes the agent's start through the gate and sees the run to its end.
func (v *visit) run(ctx context.Context) (int, error) {
	if err := v.open(); err != nil {
		return 125, err
	}
	answers, err := approval.Open(v.e.state("approvals"))
	if err != nil {
		return 125, err
	}
	answers.By, answers.Confirm, answers.Live = v.e.host.User, v.e.confirm, v.live(ctx)
	defer answers.End()
	v.endQuestions = answers.End
	g := gate.New(&v.inForce, answers, v.log)
	g.OnRefusal, g.Redact = v.denials.refused, v.e.redact.Action
	v.denials.found = v.findings.add
	v.commands = v.follow(g)
	v.leases = credential.New(g, credential.Config{Run: v.id, Agent: v.profile.Name, Rules: v.lent.rules})
	door, err := egress.New(g, v.doorConfig(g))
	if err != nil {
		return 125, err
	}
	v.begin()
	if v.result.PolicyFiles, err = v.e.keepLayers(v.extra); err != nil {
		return 125, err
	}
	v.tellBefore()
	if v.screen, err = v.openScreen(); err != nil {
		return 125, err
	}
	defer v.screen.close()
	known := v.result
	saved := later(func() error { return v.e.saveRun(&known) }) // so that it can be seen while it goes on
	defer saved()
	if err := v.log.Enqueue(ctx, v.startRecord()); err != nil {
		return 125, err
	}
	v.findings.start(v, v.log)
	if err := v.handOver(ctx, g); err != nil {
		v.front.Close()
		return v.end(ctx, g, door, sandbox.Exit{Code: 125}, errors.Join(&sandbox.StartError{Code: 125, Err: err}, door.Close()))
	}
	spec, exec := v.spec(door, v.commands), v.exec()
	v.tier.Raise(context.WithoutCancel(ctx), spec) // while the start is decided
	var exit sandbox.Exit
	_, err = g.Do(ctx, exec, func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
		if err := errors.Join(saved(), v.seat.Saved()); err != nil {
			return carrel.Outcome{}, &sandbox.StartError{Code: 125, Err: err}
		}
		exit, err = v.work(ctx, g, grant, exec, spec, door)
		return carrel.Outcome{Counts: map[string]int64{"exit_code": int64(exit.Code)}}, err
	})
	v.front.Close()
	err = errors.Join(err, door.Close())
	return v.end(ctx, g, door, exit, err)
}

// later begins f and returns what waits for it.
func later(f func() error) (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return sync.OnceValue(func() error { return <-done })
}
