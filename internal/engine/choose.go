//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/profile"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// ProfileNames lists the known profiles, for help: agents, and what package
// managers need.
func ProfileNames() string {
	return strings.Join(append(profile.Names(), profile.EcosystemNames()...), ", ")
}

// chooseEcosystems takes what package managers need out of the profiles that
// the flag names, and leaves the agent's, if there is one.
func (v *visit) chooseEcosystems() (agent string, err error) {
	for _, name := range v.opts.Profiles {
		if _, own := v.settings.Profiles[name]; !own {
			if p, ok := profile.Ecosystem(name); ok {
				v.ecosystems = append(v.ecosystems, p)
				continue
			}
		}
		if agent != "" {
			return "", fmt.Errorf("--profile %s and --profile %s: a run has one agent", agent, name)
		}
		agent = name
	}
	return agent, nil
}

// chooseProfile finds the profile for the command: the flag's, the remembered
// one, or, once asked, the one that fits.
func (v *visit) chooseProfile(ctx context.Context) (profile.Profile, error) {
	agent, err := v.chooseEcosystems()
	if err != nil {
		return profile.Profile{}, err
	}
	if agent != "" {
		return v.namedProfile(agent)
	}
	command := filepath.Base(v.opts.Command[0])
	if known, ok := v.settings.Profile[command]; ok {
		return v.namedProfile(known.Value)
	}
	fits, ok := profile.Match(command)
	if !ok {
		return profile.Default(), nil
	}
	if v.opts.YesProfile || v.opts.DryRun {
		return fits, nil
	}
	if !v.interactive() {
		return profile.Profile{}, &hintError{
			fmt.Errorf("%s is a known agent, and its profile has not been accepted yet", command),
			fmt.Sprintf("run once on a terminal, or say --yes-profile, or --profile %s, or --profile %s to do without", fits.Name, profile.Default().Name),
		}
	}
	return v.askProfile(ctx, command, fits)
}

func (v *visit) namedProfile(name string) (profile.Profile, error) {
	if own, ok := v.settings.Profiles[name]; ok {
		p, err := profile.ParseNode(name, &own.Value)
		if err != nil {
			return p, fmt.Errorf("%s: profile %s: %w", own.Origin, name, err)
		}
		return p, nil
	}
	p, ok := profile.Get(name)
	if !ok {
		return p, &hintError{fmt.Errorf("there is no profile %q", name), "known profiles: " + ProfileNames()}
	}
	return p, nil
}

// askProfile shows what a profile gives and asks once; the answer is kept in
// the user's configuration.
func (v *visit) askProfile(ctx context.Context, command string, p profile.Profile) (profile.Profile, error) {
	out := v.e.host.Stderr
	fmt.Fprintf(out, "carrel: %s looks like %s. Its profile %q gives the desk:\n", terminal.Escape(command), p.Title, p.Name)
	for _, line := range p.Describe() {
		fmt.Fprintf(out, "  - %s\n", line)
	}
	chosen, err := v.chosenOf(ctx, p)
	if err != nil {
		return p, err
	}
	a := carrel.Action{Operation: carrel.OpPolicy, Subject: "profile:" + command, Reason: carrel.Text(chosen.Name + " from now on")}
	err = v.e.operate(ctx, a, func(context.Context) (carrel.Outcome, error) {
		return carrel.Outcome{}, config.RememberProfile(v.e.userSource(), command, chosen.Name)
	})
	if err != nil {
		return chosen, fmt.Errorf("remembering the profile: %w", err)
	}
	fmt.Fprintf(out, "carrel: remembered in %s: %s has the profile %q (--profile NAME for one run)\n",
		terminal.Escape(v.e.userSource().Path), terminal.Escape(command), chosen.Name)
	return chosen, nil
}

// chosenOf asks until the answer is one: it is kept, so that a slip of the
// finger must not be taken for a no.
func (v *visit) chosenOf(ctx context.Context, p profile.Profile) (profile.Profile, error) {
	for {
		fmt.Fprint(v.e.host.Stderr, "Use it, now and later? [Y/n] ")
		answer, err := v.e.readLine(ctx)
		if errors.Is(err, gate.ErrPending) { // end of input
			err = &hintError{errors.New("the question about the profile was not answered, so nothing was run"),
				fmt.Sprintf("--profile %s, or --profile %s to do without, asks nothing", p.Name, profile.Default().Name)}
		}
		if err != nil {
			return p, err
		}
		switch strings.ToLower(answer) {
		case "", "y", "yes":
			return p, nil
		case "n", "no":
			return profile.Default(), nil
		}
	}
}
