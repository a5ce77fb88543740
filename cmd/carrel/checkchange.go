package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/engine"
)

func (a *app) policyCheckChangeCommand() *cobra.Command {
	var opts engine.CheckChangeOptions
	cmd := &cobra.Command{
		Use: "check-change", Short: "Judge what is staged, or what a branch changes, as if an agent had made it", Args: atMost(0),
		Long: "Judge a change of this repository file by file, with the risk labels of review\nand the policy that decides at a desk. Nothing is run and nothing is recorded:\nit fits into a commit hook and into CI.\n\n    carrel policy check-change                      what is staged\n    carrel policy check-change --base origin/main   this branch\n\nExit code 0 passes, 3 is denied, 4 is to be looked at by people.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.Asks != engine.AsksFail && opts.Asks != engine.AsksPass {
				return &engine.UsageError{Err: fmt.Errorf("--asks %q: use %s or %s", opts.Asks, engine.AsksFail, engine.AsksPass)}
			}
			host, err := a.host()
			if err != nil {
				return err
			}
			opts.JSON, opts.Index = a.json, os.Getenv("GIT_INDEX_FILE")
			c, err := engine.CheckChange(cmd.Context(), host, opts)
			if err != nil {
				return err
			}
			if pass, verdict := c.Passes(opts.Asks); !pass {
				return verdictStatus(verdict)
			}
			return verdictStatus(carrel.Allow)
		},
	}
	policyFlags(cmd, &opts.PolicyOptions)
	f := cmd.Flags()
	f.StringVar(&opts.Base, "base", "", "judge what the branch changed since it left this commit (default: what is staged)")
	f.StringVar(&opts.Head, "head", "", "with --base: the branch (default: HEAD)")
	f.StringVar(&opts.Agent, "agent", "", "the agent that policies are told made it")
	f.StringVar(&opts.Asks, "asks", engine.AsksFail, "what needs people: fail, or pass where a review follows anyway")
	f.BoolVar(&opts.SARIF, "sarif", false, "print SARIF 2.1.0")
	a.jsonFlag(cmd)
	return cmd
}
