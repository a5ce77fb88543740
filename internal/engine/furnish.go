//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/credential"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/hook"
	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/view"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// furnish plans what the desk sees.
func (v *visit) furnish() (err error) {
	v.runDir = v.e.state("runtime", string(v.id))
	if !v.opts.DryRun {
		if v.cache, err = v.ws.TakeCache(); err != nil {
			return err
		}
	}
	if v.plan, err = view.Build(v.viewHost(), v.request()); err != nil {
		return err
	}
	v.sshOverHTTPS()
	for _, pattern := range v.opts.Hide {
		if !slices.Contains(v.plan.Hidden, pattern) {
			v.plan.Warnings = append(v.plan.Warnings, "--hide "+pattern+": nothing of that name is here")
		}
	}
	return nil
}

func (v *visit) viewHost() view.Host {
	host := view.Host{
		Home: v.e.host.Home, Cwd: v.e.host.Cwd, Environ: v.e.host.Environ,
		State:    v.ownDirs(),
		UserName: v.userName(), UID: v.who.Inside, GID: v.who.Inside,
	}
	if !v.who.Borrowed {
		host.GID = v.who.Group
	}
	return host
}

// ownDirs are Carrel's own places, which no desk may see.
func (v *visit) ownDirs() []string {
	p := v.e.host.Paths
	return []string{p.State, filepath.Dir(p.Second), filepath.Dir(p.UserConfig)}
}

func (v *visit) userName() string {
	_, name, _ := strings.Cut(v.e.host.User, ":")
	if name == "" || v.who.Borrowed {
		return "agent"
	}
	return name
}

func (v *visit) request() view.Request {
	r := view.Request{
		Foundation: v.foundation(),
		Argv:       v.argv(), Workspace: v.ws.Root(), Staged: staged(v.seat.Layers()),
		OutDir: v.seat.Outbox(), Notices: v.noticesFile(),
		CacheDir: v.cacheDir(), Caches: v.caches(), NoOverlay: v.seat.Staging() != workspace.StagingOverlay,
		Env: append(values(v.settings.Env), v.opts.Env...), ProfileEnv: v.profileEnv(),
		RO:      append(values(v.settings.RO), v.opts.RO...),
		Hide:    append(values(v.settings.Hide), v.opts.Hide...),
		GitName: v.identity.Name, GitEmail: v.identity.Email,
		Briefing: v.briefing(),
	}
	if v.authority != nil {
		r.Authority = v.authority.PEM()
	}
	r.HomeDir = v.homeDir()
	r.Files = v.profileFiles(r.Briefing)
	return r
}

// argv is the command with what the profile adds for the model door.
func (v *visit) argv() []string {
	if v.model == nil || len(v.model.args) == 0 {
		return v.opts.Command
	}
	return append(append([]string{v.opts.Command[0]}, v.model.args...), v.opts.Command[1:]...)
}

// staged turns layers into mounts, each tree at every place it is seen.
func staged(layers []workspace.Layer) []sandbox.Mount {
	var out []sandbox.Mount
	for _, l := range layers {
		for _, target := range l.Targets {
			m := sandbox.Mount{Kind: sandbox.MountOverlay, Target: target, Lower: l.Lower, Upper: l.Upper, Work: l.Work,
				Writable: true, Adopt: true, Why: why(l)}
			if l.Copy != "" {
				m = sandbox.Mount{Kind: sandbox.MountBind, Target: target, Source: l.Copy, Writable: !l.Hidden, Why: m.Why}
			}
			if len(out) > 0 && out[len(out)-1].Lower == m.Lower && m.Kind == sandbox.MountOverlay {
				// One overlay, seen twice: two mounts of one upper would be two views.
				m = sandbox.Mount{Kind: sandbox.MountSame, Target: target, Source: out[len(out)-1].Target, Why: m.Why}
			}
			out = append(out, m)
		}
	}
	return out
}

func why(l workspace.Layer) string {
	switch {
	case l.Hidden:
		return "empty, in the place of " + l.Lower
	case l.Rel != "":
		return "staged copy of a part of the workspace"
	}
	return "staged copy of the " + l.Name
}

func (v *visit) cacheDir() string {
	if v.cache == nil { // a dry run
		return v.e.state("caches", v.ws.Key())
	}
	return v.cache.Dir
}

func (v *visit) caches() []string {
	if v.opts.CacheSet {
		if len(v.opts.Cache) == 1 && v.opts.Cache[0] == "none" {
			return []string{}
		}
		return v.opts.Cache
	}
	if v.settings.Cache != nil {
		return values(v.settings.Cache)
	}
	return nil
}

// keepsHome says whether the desk's home outlives the run.
func (v *visit) keepsHome() bool {
	switch {
	case v.settings.Home.Value == "discard":
		return false // whoever discards wins
	case v.opts.Home != "":
		return v.opts.Home == "keep"
	case v.settings.Home.IsSet():
		return v.settings.Home.Value == "keep"
	}
	return v.profile.Home.Keep
}

func (v *visit) briefing() view.Briefing {
	b := view.Briefing{Overlay: v.seat.Staging() == workspace.StagingOverlay, HomeKept: v.keepsHome(), Hidden: append(values(v.settings.Hide), v.opts.Hide...)}
	for _, r := range v.grants.Rules {
		b.Reach = append(b.Reach, r.String())
	}
	for _, s := range v.grants.Services {
		b.Services = append(b.Services, fmt.Sprintf("%s.desk:%d", s.Name, s.Port))
	}
	if v.model != nil {
		b.Services = append(b.Services, "http://"+egress.ModelHost+" (your model)")
	}
	for _, c := range v.lent.chosen {
		b.Keys = append(b.Keys, keyLine(c.Value))
	}
	for _, p := range v.ports {
		b.Exposed = append(b.Exposed, strconv.Itoa(p.Inside))
	}
	return b
}

// profileFiles are the files a profile wants: copies of the briefing where the
// agent looks for instructions, and managed settings of the host.
func (v *visit) profileFiles(b view.Briefing) []sandbox.Mount {
	var out []sandbox.Mount
	for _, target := range v.profile.Briefings {
		out = append(out, sandbox.Mount{Kind: sandbox.MountFile, Target: target, Content: []byte(b.Text()), Why: "briefing of the agent"})
	}
	for _, path := range v.profile.HostFiles {
		out = append(out, hostFile(path)...)
	}
	for _, m := range v.profile.Managed {
		variables := v.profile.Env
		if v.model != nil {
			variables = append(variables[:len(variables):len(variables)], v.model.env...)
		}
		if content, err := m.Content(variables); err == nil { // data of a parsed profile always encodes
			out = append(out, sandbox.Mount{Kind: sandbox.MountFile, Target: m.Path, Content: content, Why: "settings of the desk"})
		}
	}
	return out
}

// maxHostFile bounds a settings file of the host that is read.
const maxHostFile = 1 << 20

// hostFile shows managed settings of the host, each file of a directory by
// itself. Programs that settings have started at the client's start or before
// a tool are Carrel's only outside, and left out.
func hostFile(path string) []sandbox.Mount {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	if info.IsDir() {
		var out []sandbox.Mount
		entries, _ := os.ReadDir(path) // what cannot be read is not there for the agent either
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".json") {
				out = append(out, hostFile(filepath.Join(path, e.Name()))...)
			}
		}
		return out
	}
	m := sandbox.Mount{Kind: sandbox.MountBind, Target: path, Source: path, Optional: true, Why: "managed settings"}
	if text, err := os.ReadFile(path); err == nil && len(text) < maxHostFile {
		if inside, err := hook.AtDesk(text); err == nil {
			m = sandbox.Mount{Kind: sandbox.MountFile, Target: path, Content: inside, Why: "managed settings"}
		}
	}
	return []sandbox.Mount{m}
}

// homeDir is where the desk's home lies on the host: kept at the desk, thrown
// away with the run, or, where nothing is to be filled in, in memory ("").
func (v *visit) homeDir() string {
	switch {
	case v.keepsHome():
		return v.seat.Home()
	case len(v.profile.Home.Fill) > 0:
		return filepath.Join(v.runDir, "home")
	}
	return ""
}

// fillHome puts settings, never credentials, into the home.
func (v *visit) fillHome() error {
	home := v.homeDir()
	if home == "" {
		return nil
	}
	if err := v.makePrivate(home); err != nil {
		return err
	}
	written, err := v.profile.FillHome(v.e.host.Home, home, v.ws.Root())
	if err != nil {
		return fmt.Errorf("filling the desk's home: %w", err)
	}
	if !v.who.Borrowed {
		return nil
	}
	for _, path := range written {
		if err := os.Lchown(path, v.who.Outside, v.who.Group); err != nil {
			return fmt.Errorf("filling the desk's home: %w", err)
		}
	}
	return nil
}

// doorConfig is the way out of this run.
func (v *visit) doorConfig() egress.Config {
	c := egress.Config{Run: v.id, Agent: v.profile.Name, Rules: v.rules, OnBreach: v.breach}
	c.Proxy, c.NoProxy = v.upstreamProxy()
	c.Roots, c.Authority, c.Upload = v.roots, v.authority, v.upload
	if len(v.lent.chosen) > 0 {
		c.Secrets = v.leases
	}
	if v.model != nil {
		c.KeyHeader = v.model.header
		if v.model.source != nil {
			c.Conceal = credential.Conceal
			c.Key = func(ctx context.Context, g gate.Grant, a carrel.Action, again bool) (string, error) {
				key, err := v.model.source.Get(ctx, g, a, again)
				return key.Reveal(), err
			}
		}
	}
	return c
}

// upstreamProxy is the host's way out: the configuration's, else the one the
// user's own programs use.
func (v *visit) upstreamProxy() (proxy, noProxy string) {
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		if value, ok := v.e.host.lookup(name); ok {
			noProxy = value
		}
	}
	if set := v.settings.UpstreamProxy; set.IsSet() {
		return set.Value, noProxy
	}
	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		if value, ok := v.e.host.lookup(name); ok && value != "" {
			proxy = value
		}
	}
	return proxy, noProxy
}

// breach tells of a connection that did not keep to what was allowed.
func (v *visit) breach(b egress.Breach) {
	v.denials.add(Denial{
		Operation: b.Action.Operation, Target: target(b.Action), Verdict: carrel.Deny,
		Rule: b.Rule, Reason: b.Reason, NextSteps: b.Next, Action: b.Action.ID, Count: 1,
	})
}

// spec is what the tier builds.
func (v *visit) spec(door *egress.Door, commands *commands) sandbox.Spec {
	h := v.e.host
	s := sandbox.Spec{
		Run: v.id, Mounts: v.plan.Mounts, Program: v.plan.Program, Args: v.plan.Args, Env: v.plan.Env, Dir: v.plan.Dir,
		Limits: v.limits, DiskPaths: append(v.seat.DiskPaths(), v.plan.MakeDirs...),
		RuntimeDir: v.runDir, Stdin: h.Stdin, Stdout: h.Stdout, Stderr: h.Stderr,
		Attach: func(ctx context.Context, s sandbox.Sockets) error {
			return errors.Join(door.Attach(ctx, egress.Sockets{TCP: s.TCP, DNS: s.DNS, DNSTCP: s.DNSTCP, Route: s.Route, Netfilter: s.Netfilter, Listen: s.Listen}),
				v.front.Attach(s.Dial))
		},
	}
	if commands != nil {
		s.Executed, s.MustAsk = commands.executed, commands.must
	}
	if v.screen != nil {
		s.Stdout, s.Stderr = v.screen.out, v.screen.err
	}
	if v.interactive() {
		s.Terminal = h.Stdin
		s.Relay = func(ctx context.Context, p sandbox.Pty) error {
			return terminal.Relay(ctx, terminal.Options{Terminal: h.Stdin, Master: p.Master, Stopped: v.posed.join(ctx, p.Stopped), Stop: v.posed.stop, Continue: v.posed.resume(p.Continue)})
		}
	}
	return s
}
