//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/sandbox/native"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// diagnosis is what doctor found.
type diagnosis struct {
	Version  string               `json:"version"`
	Tier     string               `json:"tier"`
	Usable   bool                 `json:"usable"` // a desk can be built
	Controls []carrel.Enforcement `json:"controls"`
	Clients  []ClientState        `json:"clients,omitempty"` // whose hooks are registered

	// Configuration is what is wrong with it, so that no run starts; empty: nothing.
	Configuration string `json:"configuration,omitempty"`
	// State is why none can be kept, so that no run starts; empty: nothing.
	State string `json:"state,omitempty"`
}

// needed are the controls without which no desk is built.
var needed = []carrel.Control{
	carrel.ControlFiles, carrel.ControlStaging, carrel.ControlProcesses, carrel.ControlPrivilege,
	carrel.ControlSyscalls, carrel.ControlNetwork, carrel.ControlStreams, carrel.ControlLifetime,
}

// Doctor tries every control on this machine and prints what it found. It
// reports whether a desk can be built and configuration and state let runs start.
func Doctor(ctx context.Context, host Host, opts DoctorOptions) (bool, error) {
	tier := native.New(native.Options{})
	d := diagnosis{Version: host.Version, Tier: tier.Name(), Controls: tier.Probe(ctx), Usable: true}
	for _, c := range needed {
		if levelOf(d.Controls, c) == carrel.NotEnforced {
			d.Usable = false
		}
	}
	e := &Records{host}
	d.Clients, d.Configuration, d.State = e.clientStates(ctx), e.cannotBeRead(ctx), e.cannotBeKept()
	ok := d.Usable && d.Configuration == "" && d.State == ""
	switch {
	case opts.JSON:
		return ok, e.printJSON(d)
	case opts.Fix:
		return ok, e.printFixes(d)
	}
	return ok, e.printDiagnosis(d, terminal.Colors(host.Stdout, opts.NoColor))
}

func levelOf(controls []carrel.Enforcement, c carrel.Control) carrel.Level {
	for _, e := range controls {
		if e.Control == c {
			return e.Level
		}
	}
	return carrel.NotEnforced
}

var levelColors = map[carrel.Level]string{carrel.Enforced: "\x1b[32m", carrel.Partly: "\x1b[33m", carrel.NotEnforced: "\x1b[31m"}

func (e *Records) printDiagnosis(d diagnosis, color bool) error {
	if first := d.Controls[0]; !d.Usable && sameCause(d.Controls) {
		_, err := fmt.Fprintf(e.host.Stdout, "no desk can be built on this machine: %s\n", terminal.Escape(first.How))
		if err == nil && first.Fix != "" {
			_, err = fmt.Fprintf(e.host.Stdout, "  fix: %s\n", terminal.Escape(first.Fix))
		}
		if err != nil {
			return err
		}
		return errors.Join(writeConfiguration(e.host.Stdout, d.Configuration), writeState(e.host.Stdout, d.State))
	}
	table := tabwriter.NewWriter(e.host.Stdout, 0, 0, 2, ' ', 0)
	for _, c := range d.Controls {
		level := string(c.Level)
		if color {
			level = levelColors[c.Level] + level + "\x1b[0m"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", c.Control, level, terminal.Escape(c.How))
		if c.Fix != "" {
			fmt.Fprintf(table, "\t\t  fix: %s\n", terminal.Escape(c.Fix))
		}
	}
	writeClients(table, d.Clients)
	if err := table.Flush(); err != nil {
		return err
	}
	verdict := "a desk can be built on this machine; carrel selftest attacks it and says what held"
	if !d.Usable {
		verdict = "no desk can be built on this machine: see the lines marked not"
	}
	if _, err := fmt.Fprintln(e.host.Stdout, verdict); err != nil {
		return err
	}
	return errors.Join(writeConfiguration(e.host.Stdout, d.Configuration), writeState(e.host.Stdout, d.State))
}

// sameCause reports whether one thing stands in the way of every control.
func sameCause(controls []carrel.Enforcement) bool {
	for _, c := range controls {
		if c.Level != carrel.NotEnforced || c.How != controls[0].How {
			return false
		}
	}
	return true
}

// printFixes prints what would mend this machine, ready to be used.
func (e *Records) printFixes(d diagnosis) error {
	any := false
	for i, c := range d.Controls {
		if c.Fix != "" && (i == 0 || c.How != d.Controls[i-1].How) {
			any = true
			fmt.Fprintf(e.host.Stdout, "# %s: %s\n# %s\n", c.Control, terminal.Escape(c.How), terminal.Escape(c.Fix))
		}
	}
	if d.Configuration != "" {
		any = true
		fmt.Fprintf(e.host.Stdout, "# configuration: %s\n", terminal.Escape(d.Configuration))
	}
	if d.State != "" {
		any = true
		fmt.Fprintf(e.host.Stdout, "# state: %s\n# set XDG_STATE_HOME to a directory you can write\n", terminal.Escape(d.State))
	}
	if !any {
		fmt.Fprintln(e.host.Stdout, "# nothing needs mending on this machine")
	}
	fmt.Fprintf(e.host.Stdout, "\n# Where AppArmor restricts user namespaces (Ubuntu 23.10 and later), save what follows as\n# /etc/apparmor.d/carrel and load it with: sudo apparmor_parser -r /etc/apparmor.d/carrel\n%s", native.AppArmorProfile(e.host.Self))
	return nil
}
