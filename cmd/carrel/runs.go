//go:build linux

package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
)

// withEngine is the body of a verb that needs nothing but the engine.
func (a *app) withEngine(act func(cmd *cobra.Command, e *engine.Engine, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return a.onEngine(cmd, func(e *engine.Engine) error { return act(cmd, e, args) })
	}
}

func (a *app) runsCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "runs", Short: "List runs, newest first", Args: atMost(0),
		RunE: a.withEngine(func(cmd *cobra.Command, e *engine.Engine, _ []string) error {
			return e.Runs(cmd.Context(), engine.RunsOptions{All: all, JSON: a.json})
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "of every workspace")
	a.jsonLinesFlag(cmd)
	cmd.AddCommand(a.pruneCommand())
	return cmd
}

func (a *app) pruneCommand() *cobra.Command {
	var opts engine.PruneOptions
	cmd := &cobra.Command{
		Use: "prune", Short: "Remove desks and contents that nobody needs any more", Args: atMost(0),
		Long: "Remove desks that are not in use and have not been for some time, and frozen\ncontents that no kept change refers to, and policies that neither a kept run\nnor a record of the log refers to. Unapplied work is kept unless\n--unapplied says otherwise. The log is never shortened.",
		RunE: a.withEngine(func(cmd *cobra.Command, e *engine.Engine, _ []string) error {
			opts.JSON = a.json
			return e.Prune(cmd.Context(), opts)
		}),
	}
	ageFlag(cmd.Flags(), &opts.Older, "older", 30*24*time.Hour, "what has not been used for this long")
	cmd.Flags().BoolVar(&opts.Unapplied, "unapplied", false, "unapplied work as well")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) showCommand() *cobra.Command {
	var denials bool
	cmd := &cobra.Command{
		Use: "show [RUN]", Short: "Show one run: what it was given, what it did, what was refused", Args: atMost(1),
		Long: "Show one run: what it was given, what it did, what was refused, and how each\nwall was held. RUN may be latest, which is the default: the newest run in this\nworkspace.",
		RunE: a.withEngine(func(cmd *cobra.Command, e *engine.Engine, args []string) error {
			return e.Show(cmd.Context(), first(args), engine.ShowOptions{Denials: denials, JSON: a.json})
		}),
	}
	cmd.Flags().BoolVar(&denials, "denials", false, "only what was refused")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) pendingCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use: "pending", Short: "List actions and changes that wait for an answer", Args: atMost(0),
		Long: "List the actions that wait for a person, of every run, and the changes of this\nworkspace that do. With --watch: show actions as they begin to wait, and at a\nterminal ask about each.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if !watch {
				return a.withEngine(func(cmd *cobra.Command, e *engine.Engine, _ []string) error {
					return e.Pending(cmd.Context(), a.json)
				})(cmd, args)
			}
			return a.onHost(func(host engine.Host) error { return engine.WatchPending(cmd.Context(), host, a.json) })
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "go on, and ask at a terminal")
	a.jsonLinesFlag(cmd)
	return cmd
}

func (a *app) trustCommand() *cobra.Command {
	var opts engine.TrustOptions
	cmd := &cobra.Command{
		Use: "trust", Short: "Accept what this repository's .carrel/config.yaml grants", Args: atMost(0),
		Long: "Show what the repository's configuration, at the commit that is checked out,\nwould grant an agent (destinations, services, variables, mounts), what of it is\nnew, and accept exactly that. What it narrows applies without being accepted.",
		RunE: a.withEngine(func(cmd *cobra.Command, e *engine.Engine, _ []string) error {
			opts.JSON = a.json
			return e.Trust(cmd.Context(), opts)
		}),
	}
	cmd.Flags().BoolVarP(&opts.Yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&opts.Revoke, "revoke", false, "take the acceptance back")
	a.jsonFlag(cmd)
	return cmd
}
