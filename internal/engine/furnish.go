//go:build linux

package engine

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/view"
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
		RO:      v.readOnly(),
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

// readOnly is what was asked to be visible, and by what.
func (v *visit) readOnly() []view.Asked {
	var out []view.Asked
	for _, p := range v.settings.RO {
		out = append(out, view.Asked{Path: p.Value, By: "ro at " + p.Origin.String()})
	}
	for _, p := range v.opts.RO {
		out = append(out, view.Asked{Path: p, By: "--ro"})
	}
	return out
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
