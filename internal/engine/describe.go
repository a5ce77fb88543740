//go:build linux

package engine

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/egress"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/view"
	"github.com/carrel-dev/carrel/internal/terminal"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// dryRun is what `run --dry-run` prints.
type dryRun struct {
	Profile   string            `json:"profile"`
	Command   []string          `json:"command"`
	Program   string            `json:"program"`
	Dir       string            `json:"dir"`
	Workspace string            `json:"workspace"`
	Staging   workspace.Staging `json:"staging"`
	HomeKept  bool              `json:"home_kept"`
	Mounts    []sandbox.Mount   `json:"mounts"`
	Env       []string          `json:"env"`
	Egress    []reach           `json:"egress"`
	Services  []egress.Service  `json:"services"`
	Model     string            `json:"model,omitempty"`
	ModelKey  string            `json:"model_key,omitempty"`
	Tools     bool              `json:"tools,omitempty"` // the client asks before it uses a tool of a server
	Limits    sandbox.Limits    `json:"limits"`
	Upload    int64             `json:"upload_limit,omitempty"` // bytes
	Policy    []policy.Source   `json:"policy"`
	Handed    []string          `json:"handed_over"`
	Wishes    []config.Grant    `json:"not_trusted"`
	Warnings  []string          `json:"warnings"`
}

// reach is one destination and how closely it is looked at: at host level any
// tenant behind the name can be reached; at request level each request is
// decided.
type reach struct {
	Rule  string `json:"rule"`
	Level string `json:"level"`
}

// level is the look that every port of a rule gets: one that is not looked
// into lets pass what the others would not.
func (v *visit) level(r egress.Rule) string {
	if egress.OnlyByName(r.Host) {
		return "not from a desk, which has no IPv6: allow the host's name"
	}
	for _, port := range r.Ports {
		if !v.rules.Inspects(r.Host, port) && (!v.lent.rules.Bound(r.Host, port) || v.rules.Protocol(r.Host, port) != carrel.ProtoTLS) {
			return "host level"
		}
	}
	return "request level"
}

// describe prints everything the agent would see and reach.
func (v *visit) describe() error {
	if err := v.showPlaceholders(); err != nil {
		return err
	}
	d := dryRun{
		Profile: v.profile.Name, Command: v.plan.Args, Program: v.plan.Program, Dir: v.plan.Dir,
		Workspace: v.ws.Root(), Staging: v.seat.Staging(), HomeKept: v.keepsHome(),
		Mounts: v.plan.Mounts, Env: v.plan.Env, Egress: []reach{}, Services: listed(v.grants.Services), Tools: v.grants.Tools, Limits: v.limits, Upload: v.upload,
		Policy: v.policy.Sources(), Handed: listed(v.handedOver()), Wishes: listed(v.settings.wishes),
		Warnings: listed(append(v.warnings(), v.visibleSecrets()...)),
	}
	for _, r := range v.rules.List() {
		d.Egress = append(d.Egress, reach{r.String(), v.level(r)})
	}
	if v.model != nil {
		d.Model, d.ModelKey = v.model.endpoint, v.model.from
	}
	if v.opts.JSON {
		return v.e.printJSON(d)
	}
	d.write(v.e.host.Stdout)
	return nil
}

func (d dryRun) write(w io.Writer) {
	section := func(title string, lines []string, none string) {
		fmt.Fprintf(w, "\n%s\n", title)
		if len(lines) == 0 {
			lines = []string{none}
		}
		for _, l := range lines {
			fmt.Fprintf(w, "  %s\n", terminal.Escape(l))
		}
	}
	fmt.Fprintf(w, "%s at a desk for %s, profile %s, staging %s\n",
		terminal.Escape(strings.Join(d.Command, " ")), terminal.Escape(d.Workspace), d.Profile, d.Staging)
	section("Sees", mountLines(d.Mounts), "nothing")
	section("Reaches", d.reachLines(), "nothing: no destination is allowed")
	section("Environment", d.Env, "empty")
	section("Limits of this run", d.limitLines(), "none but those of the machine")
	section("Policy", policyLines(d.Policy), "none")
	section("Handed over", d.Handed, "nothing that looks like a secret")
	if len(d.Wishes) > 0 {
		section("Asked for by the repository, not accepted (carrel trust)", stringsOf(d.Wishes), "")
	}
	if len(d.Warnings) > 0 {
		section("Notes", d.Warnings, "")
	}
}

func (d dryRun) reachLines() []string {
	var out []string
	for _, r := range d.Egress {
		out = append(out, r.Rule+"  ("+r.Level+")")
	}
	for _, s := range d.Services {
		out = append(out, fmt.Sprintf("%s.desk:%d  (the host's %s:%d)", s.Name, s.Port, s.Host, s.Port))
	}
	if d.Model != "" {
		key := "no key"
		if d.ModelKey != "" {
			key = "key from " + d.ModelKey + ", added outside"
		}
		out = append(out, fmt.Sprintf("http://%s  (%s; %s)", egress.ModelHost, d.Model, key))
	}
	if d.Tools {
		out = append(out, fmt.Sprintf("http://%s  (where the agent's client asks before it uses a tool of a server)", egress.ToolHost))
	}
	return out
}

func mountLines(mounts []sandbox.Mount) []string {
	var out []string
	for _, m := range mounts {
		mode := "ro"
		if m.Writable || m.Kind == sandbox.MountTmpfs {
			mode = "rw"
		}
		out = append(out, fmt.Sprintf("%s %-7s %-32s %s", mode, m.Kind, m.Target, m.Why))
	}
	return out
}

func policyLines(sources []policy.Source) []string {
	var out []string
	for _, s := range sources {
		line := fmt.Sprintf("%s (%s) governs %v", s.Layer, s.Kind, s.Governs)
		for _, f := range s.Files {
			line += fmt.Sprintf(" %s [%s]", f.Name, language(f))
		}
		out = append(out, line)
	}
	return out
}

func stringsOf[T fmt.Stringer](values []T) []string {
	var out []string
	for _, v := range values {
		out = append(out, v.String())
	}
	return out
}

// handedOver lists what the agent was given beyond its workspace.
func (v *visit) handedOver() []string {
	var out []string
	for _, name := range v.plan.Handed {
		out = append(out, "variable "+name+" looks like a secret")
	}
	for _, p := range v.plan.Shown {
		out = append(out, "read-only "+p)
	}
	for _, s := range v.grants.Services {
		out = append(out, "service "+s.String())
	}
	out = append(out, v.lent.lines()...)
	for _, p := range v.ports {
		out = append(out, "the host's "+p.String())
	}
	if v.keepsHome() && v.model == nil && v.profile.Login != "" {
		out = append(out, v.profile.Login)
	}
	return out
}

// tellBefore says before the run what the user may not expect of it: what was
// handed in that looks like a secret, flags without effect, work that goes on,
// grants that do not count yet, policy that this tier never asks.
func (v *visit) tellBefore() {
	var lines []string
	for _, name := range v.plan.Handed {
		lines = append(lines, name+" looks like a secret, and the agent will have it")
	}
	for _, w := range v.plan.Warnings { // those about the PATH are in --dry-run
		if strings.HasPrefix(w, "--") {
			lines = append(lines, w)
		}
	}
	for _, line := range slices.Concat(lines, v.lent.notes, v.seat.Notes, v.policy.Ungated(v.gated()), v.wishes()) {
		fmt.Fprintf(v.e.host.Stderr, "carrel: %s\n", terminal.Escape(line))
	}
}

// visibleSecrets names files of the workspace that tend to hold secrets and
// that the agent can read.
func (v *visit) visibleSecrets() []string {
	found, more := view.VisibleSecrets(v.ws.Root(), append(values(v.settings.Hide), v.opts.Hide...))
	if len(found) == 0 {
		return nil
	}
	if more {
		found = append(found, "…")
	}
	return []string{"the agent can read files that tend to hold secrets: " + strings.Join(found, ", ") + " (--hide PATH makes them empty inside)"}
}

// warnings are what the user may want to know before and after the run.
func (v *visit) warnings() []string {
	return slices.Concat(v.plan.Warnings, v.lent.notes, v.seat.Notes, v.policy.Ungated(v.gated()), v.wishes())
}

// wishes says that the repository asks for more than it was given.
func (v *visit) wishes() []string {
	n := len(v.settings.wishes)
	if n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("the repository asks for %s that you have not accepted; see and accept them with: carrel trust", plural(n, "grant"))}
}
