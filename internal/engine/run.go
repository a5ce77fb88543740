//go:build linux

package engine

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/approval"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/credential"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/git"
	"github.com/carrel-dev/carrel/internal/hook"
	"github.com/carrel-dev/carrel/internal/ingress"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/profile"
	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native"
	"github.com/carrel-dev/carrel/internal/sandbox/view"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// visit is one run while it is prepared and under way. Its fields are filled
// in the order of prepare; afterwards only denials change.
type visit struct {
	e    *Engine
	opts RunOptions
	id   carrel.RunID

	ws       *workspace.Workspace
	repo     *git.Repo // nil outside git
	settings *settings
	profile  profile.Profile
	// ecosystems are what package managers need beside the agent.
	ecosystems []profile.Profile
	model      *modelDoor // nil: no model endpoint
	lent       lending
	leases     *credential.Leases // from run on
	ports      []ingress.Port     // of --expose
	front      *ingress.Front     // from run on
	limits     sandbox.Limits
	upload     int64          // bytes that may be sent to the network; 0: no bound
	roots      *x509.CertPool // nil: the system's
	rules      *egress.Rules
	authority  *egress.Authority // nil: nothing is inspected
	grants     egress.Grants
	policy     *policy.Engine
	extra      []policy.Layer // of --policy, and the repository's
	granted    []policy.Layer // in Go: where it may go, what it is lent, what it may show
	inForce    policy.Live    // policy, or what it was edited to since
	seat       *workspace.Seat
	cache      *workspace.Cache // nil in a dry run
	identity   config.Identity
	// foundation is the part of the plan that the host alone decides.
	foundation func() *view.Foundation
	plan       view.Plan
	tier       *native.Tier
	who        native.Identity
	log        *audit.Log
	runDir     string
	screen     *screen   // nil: nothing of the desk goes to a terminal unfiltered
	began      bool      // the agent was started
	commands   *commands // nil: nobody hears of them
	denials    denials
	findings   findings
	posed      posed // questions for the person at the terminal
	result     RunResult

	program    carrel.Digest // of the agent's executable; "" if not known
	policyKept error         // why the text of the policy could not be kept
	applied    []selected    // changes that were applied at quiet moments, to be attested
}

// Run lends a desk to one command and returns the exit code for the shell: the
// command's own, or 125 to 127 with an error.
func (e *Engine) Run(ctx context.Context, opts RunOptions) (int, error) {
	v := &visit{e: e, opts: opts, id: carrel.NewRunID(), tier: native.New(native.Options{InstallDir: e.state("init")})}
	if err := opts.check(); err != nil {
		return 125, err
	}
	var err error
	if v.who, err = native.Who(); err != nil {
		return 125, err
	}
	v.foundation = sync.OnceValue(func() *view.Foundation { return view.Lay(v.viewHost()) })
	if !opts.DryRun {
		v.tier.Prepare() // while everything else is read
		go func() { v.tier.Lay(v.foundation().Mounts) }()
		go e.openLog() // likewise; prepare waits for it
		defer v.tier.Discard()
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

// startHeap is how much a start may allocate before memory is collected, and
// startTime how long: a start allocates a few megabytes, once.
const (
	startHeap = 32 << 20
	startTime = 200 * time.Millisecond
)

// collectLater puts the collection of memory off while the process's first run
// starts: it would take the processor from what the run waits for.
var collectLater = sync.OnceFunc(func() {
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(startHeap)
	time.AfterFunc(startTime, func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
	})
})

// check refuses words that mean nothing before anything is touched.
func (o RunOptions) check() error {
	oneOf := func(flag, value string, allowed ...string) error {
		for _, a := range append(allowed, "") {
			if value == a {
				return nil
			}
		}
		return fmt.Errorf("--%s %q: use one of %v", flag, value, allowed)
	}
	var caches []error
	for _, name := range o.Cache {
		caches = append(caches, oneOf("cache", name, append(view.CacheNames(), "none")...))
	}
	if o.JSON && !o.DryRun {
		return errors.New("--json goes with --dry-run; a run writes its JSON with --result FILE")
	}
	return errors.Join(
		oneOf("home", o.Home, "keep", "discard"),
		oneOf("staging", o.Staging, "auto", "overlay", "copy"),
		oneOf("commands", o.Commands, commandsOff, commandsRecord, commandsDecide),
		oneOf("apply", o.Apply, "auto"),
		oneOf("tier", o.Tier, native.Name),
		errors.Join(caches...),
	)
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
	group.Go(v.e.reap)
	if !v.opts.DryRun {
		group.Go(func() (err error) { v.log, err = v.e.openLog(); return err })
	}
	// The settings are complete before anything else reads them: what the
	// repository narrows counts for the seat as well.
	if err := v.e.addRepository(ctx, v.settings, func() (config.RepositoryID, error) { return repositoryID(ctx, v.ws, v.repo) }, v.repo); err != nil {
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

// grant joins what configuration, repository, profile and flags give the desk,
// and compiles the policy that decides about it.
func (v *visit) grant(ctx context.Context) (err error) {
	if v.limits, v.upload, err = v.settings.limits(v.opts); err != nil {
		return err
	}
	if v.roots, err = v.settings.roots(); err != nil {
		return err
	}
	if v.model, err = v.chooseModel(); err != nil {
		return err
	}
	if v.model != nil && v.model.source != nil {
		v.e.unlogged(v.model.source)
	}
	endpoint := ""
	if v.model != nil {
		endpoint = v.model.endpoint
	}
	if v.grants, err = v.settings.rules(v.opts, v.profileRules(), endpoint); err != nil {
		return err
	}
	if v.rules, err = egress.NewRules(v.grants); err != nil {
		return err
	}
	digest, err := digestOf(v.grants)
	if err != nil {
		return err
	}
	if v.lent, err = v.chooseCredentials(); err != nil {
		return err
	}
	if v.ports, err = v.opts.exposed(); err != nil {
		return err
	}
	v.lent.leads(v.rules)
	if v.authority, err = egress.NewAuthority(v.rules, v.lent.destinations()); err != nil {
		return err
	}
	v.extra = append(v.extra, v.settings.repoPolicy...)
	v.granted = []policy.Layer{egressLayer(v.rules, digest), credentialLayer(v.rules, v.lent, digest), exposeLayer(v.ports)}
	if v.policy, err = policy.New(ctx, v.allLayers(v.settings.policyLayers, v.extra)...); err == nil {
		v.inForce.Replace(v.policy)
		go v.policy.Warm(carrel.OpExec) // while the desk is furnished
	}
	return err
}

// allLayers are the run's layers in their order: what it was granted, the
// configuration's Rego, and that of flags and the repository.
func (v *visit) allLayers(configured, extra []policy.Layer) []policy.Layer {
	return slices.Concat(v.granted, configured, extra)
}

// flagLayers reads the Rego of --policy.
func (v *visit) flagLayers() ([]policy.Layer, error) {
	var out []policy.Layer
	for i, path := range v.opts.Policy {
		layer, err := policy.FromPath(fmt.Sprintf("run%d", i+1), policy.User, path)
		if err != nil {
			return nil, fmt.Errorf("--policy: %w", err)
		}
		out = append(out, layer)
	}
	return out, nil
}

// profileRules are what the agent and the package managers need to reach.
func (v *visit) profileRules() []egress.Rule {
	destinations := v.profile.Destinations(v.model != nil)
	for _, p := range v.ecosystems {
		destinations = append(destinations, p.Egress...)
	}
	return rulesOf(destinations)
}

func rulesOf(destinations []profile.Destination) []egress.Rule {
	var rules []egress.Rule
	for _, d := range destinations {
		rules = append(rules, egress.Rule{Host: d.Host, Ports: d.Ports, Protocol: carrel.Protocol(d.Protocol), Methods: d.Methods, Paths: d.Paths})
	}
	return rules
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

// exec is the action that starts the agent.
func (v *visit) exec() carrel.Action {
	return carrel.Action{
		Run: v.id, Operation: carrel.OpExec, Agent: v.profile.Name,
		Path: v.plan.Program, Argv: hook.Recordable(v.opts.Command), Cwd: carrel.Text(v.plan.Dir),
	}
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
	answers.By, answers.Confirm, answers.Live = v.e.host.User, v.e.confirm, v.live()
	g := gate.New(&v.inForce, answers, v.log)
	g.OnRefusal, g.Redact = v.denials.refused, v.e.redact.Action
	v.denials.found = v.findings.add
	v.commands = v.follow(g)
	v.leases = credential.New(g, credential.Config{Run: v.id, Agent: v.profile.Name, Rules: v.lent.rules})
	door, err := egress.New(g, v.doorConfig())
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
	exec := v.exec()
	var exit sandbox.Exit
	_, err = g.Do(ctx, exec, func(ctx context.Context, grant gate.Grant) (carrel.Outcome, error) {
		if err := errors.Join(saved(), v.seat.Saved()); err != nil {
			return carrel.Outcome{}, &sandbox.StartError{Code: 125, Err: err}
		}
		exit, err = v.work(ctx, g, grant, exec, door)
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

// handOver puts in force what the user lends beside the desk itself:
// credentials, and ports of the host.
func (v *visit) handOver(ctx context.Context, g *gate.Gate) error {
	if err := shutMemory(); err != nil { // it knows the model's key and the log's, too
		return err
	}
	if err := v.lend(ctx); err != nil {
		return err
	}
	v.front = ingress.New(g, ingress.Config{Run: v.id, Agent: v.profile.Name, Ports: v.ports})
	return v.front.Open(ctx)
}

// open makes the run's private directory and the file of notices.
func (v *visit) open() (err error) {
	if err = os.MkdirAll(v.runDir, 0o700); err != nil {
		return fmt.Errorf("making the run's directory: %w", err)
	}
	for _, dir := range v.plan.MakeDirs {
		if err := v.makePrivate(dir); err != nil {
			return err
		}
	}
	if err := v.fillHome(); err != nil {
		return err
	}
	v.denials.notices, err = os.OpenFile(v.noticesFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("making the run's notices: %w", err)
	}
	v.denials.report = v.tellUser()
	v.findings.tell = v.tellFinding()
	return nil
}

func (v *visit) noticesFile() string { return filepath.Join(v.runDir, "notices") }

// makePrivate makes a directory that the desk's user owns.
func (v *visit) makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making a directory of the desk: %w", err)
	}
	if !v.who.Borrowed {
		return nil
	}
	return os.Lchown(dir, v.who.Outside, v.who.Group)
}

// work builds the walls, waits for the agent to end and takes its change.
func (v *visit) work(ctx context.Context, g *gate.Gate, grant gate.Grant, exec carrel.Action, door *egress.Door) (sandbox.Exit, error) {
	spec := v.spec(door, v.commands)
	life, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	desk, err := v.tier.Start(life, grant, exec, spec)
	if err != nil {
		return sandbox.Exit{Code: 125}, err
	}
	v.began = true
	go v.log.Warm() // while the agent works
	defer v.gather()()
	stop := v.passSignals(ctx, desk)
	defer stop()
	defer v.warmLater()()
	defer v.watchPolicy(ctx, g)()
	quiet := v.watchQuiet(ctx, g)
	exit, err := desk.Wait()
	quiet()
	v.screen.close()
	v.result.Enforcement = append(desk.Enforcement(), door.Enforcement()...)
	return exit, err
}

// warmLater compiles the policy for the files of the change while the agent
// works, unless the agent is gone before that is worth it.
func (v *visit) warmLater() (stop func() bool) {
	return time.AfterFunc(startTime, func() { v.policy.Warm() }).Stop
}

// interactive reports whether a person is at both ends of the run.
func (v *visit) interactive() bool {
	h := v.e.host
	return term.IsTerminal(int(h.Stdin.Fd())) && term.IsTerminal(int(h.Stdout.Fd()))
}

// close gives back what prepare took.
func (v *visit) close() {
	if v.seat != nil {
		if !v.began {
			_ = v.seat.Unused() // else a later change may be called a conflict, which is safe
		}
		_ = v.seat.Close() // the work is on disk; what fails here is a lock that ends with the process
	}
	if v.cache != nil {
		_ = v.cache.Close() // as above
	}
	if v.denials.notices != nil {
		_ = v.denials.notices.Close()
	}
	if v.runDir != "" {
		_ = os.RemoveAll(v.runDir)
	}
}

// begin fills in what is known of the run before it starts.
func (v *visit) begin() {
	v.result = RunResult{
		Version: runVersion, Run: v.id, Agent: v.profile.Name, Command: v.exec().Argv,
		Workspace: carrel.Text(v.ws.Root()), Desk: v.seat.ID(), Base: v.seat.Base(),
		Started: time.Now().UTC(), Tier: v.tier.Name(), Staging: v.seat.Staging(),
		Policy: v.policy.Digest(), Grants: v.handedOver(), Warnings: v.warnings(),
	}
}
