//go:build !linux

package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
)

const rootHelp = `A carrel is a desk with walls, lent to an agent for one piece of work. Desks
need Linux. Here Carrel answers the hooks of agents' own clients by the same
policy, keeps a log that anybody can check, and checks what desks elsewhere
have left.

    carrel init claude-code         have a client ask before it uses a tool
    carrel doctor                   whether that is live
    carrel pending                  what waits for an answer
    carrel approve act_…            say yes to exactly that action
    carrel log verify               check the log
    carrel verify evidence/         check what a run on Linux proves`

// inside reports whether this process is the first of a desk: never here.
func inside() bool { return false }

func (a *app) hostVerbs() []verb {
	answer := func(name string, granted bool) verb {
		return verb{name, func() *cobra.Command { return a.answerCommand(name, granted) }}
	}
	out := []verb{answer("approve", true), answer("deny", false), {"pending", a.pendingCommand}, {"doctor", a.doctorCommand}}
	for _, name := range []string{
		"run", "runs", "show", "review", "apply", "discard", "identity", "attest", "evidence", "why", "trust", "selftest", "demo",
	} {
		out = append(out, verb{name, func() *cobra.Command {
			return &cobra.Command{
				Use: name, Short: "Work with desks (Linux only)", Hidden: name != "run", DisableFlagParsing: true,
				RunE: func(*cobra.Command, []string) error {
					return &exitStatus{exitCarrel, fmt.Errorf("desks are built with Linux namespaces, and this is %s: run carrel in a Linux virtual machine; hooks, policies, and reading and verifying a log work here", runtime.GOOS)}
				},
			}
		}})
	}
	return out
}

// answerCommand answers actions that a client's hook asked about: changes,
// which desks make, are not here.
func (a *app) answerCommand(verb string, granted bool) *cobra.Command {
	var answer engine.ActionAnswer
	cmd := &cobra.Command{
		Use: verb + " ACTION", Short: "Answer an action that a client's hook asked about", Args: exactly(1, "the action (act_…); carrel pending lists them"),
		RunE: func(cmd *cobra.Command, args []string) error {
			host, err := a.host()
			if err != nil {
				return err
			}
			answer.JSON = a.json
			return engine.AnswerAction(cmd.Context(), host, args[0], granted, answer)
		},
	}
	cmd.Flags().StringVar(&answer.Reason, "reason", "", "why; it goes into the log")
	if granted {
		lengthFlag(cmd.Flags(), &answer.For, "for", 0, "how long the approval holds (default: as --remember says)")
		cmd.Flags().StringVar(&answer.Remember, "remember", engine.RememberAction, "action, run or rule")
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) pendingCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use: "pending", Short: "List actions that wait for an answer", Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			host, err := a.host()
			if err != nil {
				return err
			}
			if watch {
				return engine.WatchPending(cmd.Context(), host, a.json)
			}
			return engine.OpenRecords(host).PendingActions(a.json)
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "go on, and ask at a terminal")
	a.jsonLinesFlag(cmd)
	return cmd
}

func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Say whether the hooks of agents' clients are live, by trying them", Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			host, err := a.host()
			if err != nil {
				return err
			}
			ok, err := engine.Clients(cmd.Context(), host, a.json)
			if err == nil && !ok {
				return &exitStatus{code: exitError}
			}
			return err
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
