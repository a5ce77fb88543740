//go:build linux

package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
)

// changeFlags are what every verb about a change takes.
func (a *app) changeFlags(cmd *cobra.Command, sel *engine.Selection) {
	cmd.Args = atMost(1)
	cmd.Flags().StringVar(&sel.Digest, "digest", "", "refuse unless the change has this digest, or a digest that starts like this (8 digits or more)")
	cmd.Flags().StringVar(&sel.Workspace, "workspace", "", "the workspace (default: that of the current directory)")
}

// onChange builds a verb that opens the engine and acts on a selected change.
func (a *app) onChange(use, short, long string, act func(cmd *cobra.Command, e *engine.Engine, sel engine.Selection) error) *cobra.Command {
	var sel engine.Selection
	cmd := &cobra.Command{Use: use, Short: short, Long: long, RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			sel.ID = args[0]
		}
		return a.onEngine(cmd, func(e *engine.Engine) error { return act(cmd, e, sel) })
	}}
	a.changeFlags(cmd, &sel)
	return cmd
}

func (a *app) reviewCommand() *cobra.Command {
	var opts engine.ReviewOptions
	cmd := a.onChange("review [CHANGE|RUN]", "Show what a run changed, with the risks named",
		"Show the newest change of this workspace, or the one named: a summary, the\nfiles with their risks and what policy says of each, and the difference.\nWhat is shown is what approve and apply act on.",
		func(cmd *cobra.Command, e *engine.Engine, sel engine.Selection) error {
			opts.JSON, opts.NoColor = a.json, a.noColor
			return e.Review(cmd.Context(), sel, opts)
		})
	cmd.Flags().BoolVar(&opts.Stat, "stat", false, "leave the differences out")
	cmd.Flags().StringVar(&opts.Content, "content", "", "print this file of the change instead, as the agent left it")
	cmd.Flags().BoolVar(&opts.NoPager, "no-pager", false, "do not use a pager")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) approveCommand() *cobra.Command {
	var opts engine.AnswerOptions
	var remember string
	cmd := a.onChange("approve [CHANGE|ACTION]", "Say yes to exactly one change, or to an action that waits",
		"Approve the change that review showed last, or the one named. The approval is\nbound to the digest of the change, to its run and to the policy in force, and\nit expires. A newer change makes it refuse.\n\nAn action (act_…) that waits for a person is approved once, unless --remember\nsays otherwise: run, for identical actions of this run; rule, and a rule to put\ninto your configuration is proposed. carrel pending lists them.",
		func(cmd *cobra.Command, e *engine.Engine, sel engine.Selection) error {
			opts.JSON = a.json
			return e.Answer(cmd.Context(), sel, true, opts)
		})
	cmd.Flags().StringVar(&opts.Reason, "reason", "", "why; it goes into the log")
	lengthFlag(cmd.Flags(), &opts.For, "for", engine.DefaultApprovalTime, "how long the approval holds")
	cmd.Flags().StringVar(&remember, "remember", engine.RememberAction, "of an action: action, run or rule")
	a.jsonFlag(cmd)
	a.orAction(cmd, true, func() engine.ActionAnswer {
		answer := engine.ActionAnswer{Reason: opts.Reason, Remember: remember, JSON: a.json}
		if cmd.Flags().Changed("for") {
			answer.For = opts.For
		}
		return answer
	})
	return cmd
}

func (a *app) denyCommand() *cobra.Command {
	var opts engine.AnswerOptions
	cmd := a.onChange("deny [CHANGE|ACTION]", "Say no to a change, or to an action that waits",
		"Deny the change that review showed last, or the one named. It stays at the\ndesk, and apply refuses it. An action (act_…) that waits is refused, and not\nasked about again in its run.",
		func(cmd *cobra.Command, e *engine.Engine, sel engine.Selection) error {
			opts.JSON = a.json
			return e.Answer(cmd.Context(), sel, false, opts)
		})
	cmd.Flags().StringVar(&opts.Reason, "reason", "", "why; it goes into the log")
	a.jsonFlag(cmd)
	a.orAction(cmd, false, func() engine.ActionAnswer { return engine.ActionAnswer{Reason: opts.Reason, JSON: a.json} })
	return cmd
}

// orAction lets a verb about changes answer an action where one is named.
func (a *app) orAction(cmd *cobra.Command, granted bool, opts func() engine.ActionAnswer) {
	change := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 || !strings.HasPrefix(args[0], "act_") {
			if cmd.Flags().Changed("remember") {
				return &engine.UsageError{Err: errors.New("--remember is about an action (act_…), and none is named")}
			}
			return change(cmd, args)
		}
		answer := opts()
		answer.Digest, _ = cmd.Flags().GetString("digest")
		return a.onHost(func(host engine.Host) error {
			return engine.AnswerAction(cmd.Context(), host, args[0], granted, answer)
		})
	}
}

func (a *app) applyCommand() *cobra.Command {
	var opts engine.ApplyOptions
	cmd := a.onChange("apply [CHANGE]", "Put a change into the working tree, or on a new branch",
		"Apply the change that review showed last, or the one named, byte for byte as\nit was shown. Without --branch it goes into the working tree; with it, a new\nbranch gets one commit of yours and the working tree is not touched. On a\nterminal apply shows the summary and asks; elsewhere the change must have been\napproved before (exit code 4 says so).",
		func(cmd *cobra.Command, e *engine.Engine, sel engine.Selection) error {
			opts.JSON, opts.NoColor = a.json, a.noColor
			return e.Apply(cmd.Context(), sel, opts)
		})
	cmd.Flags().StringVar(&opts.Branch, "branch", "", "commit to this new branch instead of touching the working tree")
	cmd.Flags().StringVarP(&opts.Message, "message", "m", "", "commit message (default: what the agent proposed)")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) discardCommand() *cobra.Command {
	var opts engine.DiscardOptions
	cmd := a.onChange("discard [CHANGE]", "Throw away what a run changed",
		"Discard the newest change of this workspace, or the one named, and empty its\ndesk. The working tree is not touched. The log keeps that it was there.",
		func(cmd *cobra.Command, e *engine.Engine, sel engine.Selection) error {
			opts.JSON = a.json
			return e.Discard(cmd.Context(), sel, opts)
		})
	cmd.Flags().BoolVarP(&opts.Yes, "yes", "y", false, "do not ask")
	a.jsonFlag(cmd)
	return cmd
}
