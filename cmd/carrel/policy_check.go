package main

import (
	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
)

// onPolicy builds a verb that looks at one policy, which need not be in force.
func (a *app) onPolicy(use, short, long string, opts *engine.PolicyCheckOptions, act func(cmd *cobra.Command, host engine.Host) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Args: exactly(1, "the policy: a Rego file or a directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Path, opts.JSON = args[0], a.json
			return a.onHost(func(host engine.Host) error { return act(cmd, host) })
		}}
	cmd.Flags().StringVar(&opts.Entry, "entry", "", `the package that is asked, as "data.team.rules"`)
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) policyCheckCommand() *cobra.Command {
	var opts engine.PolicyCheckOptions
	return a.onPolicy("check PATH", "Find what a policy lets by, with examples",
		"Read a policy strictly, with the types of its input, and try it with inputs that\nits own words suggest: misspelt fields and answers, rules that can never hold or\nalways do, tests of a path that neighbours pass too. Every hole comes with an\ninput that shows it, and with what the built-in floor makes of it. Exit code 1\nif there is an error, or a hole that the floor leaves open.",
		&opts, func(cmd *cobra.Command, host engine.Host) error { return engine.PolicyCheck(cmd.Context(), host, opts) })
}

func (a *app) policyTestCommand() *cobra.Command {
	var opts engine.PolicyCheckOptions
	cmd := a.onPolicy("test PATH", "Run a policy's tests, with coverage",
		"Run what lies beside a policy: rules test_… of files _test.rego, and tables of\nactions in files _test.yaml, whose rows say an input and the expected answer:\n\n    actions:\n      - name: nobody writes keys\n        input: {operation: write, path: /workspace/a.pem}\n        expect: deny",
		&opts, func(_ *cobra.Command, host engine.Host) error { return engine.PolicyTest(host, opts) })
	cmd.Flags().Float64Var(&opts.MinCoverage, "min-coverage", 0, "fail if fewer percent of the policy are covered")
	return cmd
}

func (a *app) policyInitCommand() *cobra.Command {
	return &cobra.Command{
		Use: "init DIR", Short: "Write a policy to start from, with tests", Args: exactly(1, "a directory for the policy"),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.onHost(func(host engine.Host) error { return engine.PolicyInit(host, args[0]) })
		},
	}
}
