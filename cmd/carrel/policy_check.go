package main

import (
	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
)

func (a *app) policyCheckCommand() *cobra.Command {
	var opts engine.PolicyCheckOptions
	cmd := &cobra.Command{
		Use: "check PATH", Short: "Find what a policy lets by, with examples", Args: exactly(1, "the policy: a Rego file or a directory"),
		Long: "Read a policy strictly, with the types of its input, and try it with inputs that\nits own words suggest: misspelt fields and answers, rules that can never hold or\nalways do, tests of a path that neighbours pass too. Every hole comes with an\ninput that shows it, and with what the built-in floor makes of it. Exit code 1\nif there is an error, or a hole that the floor leaves open.",
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		opts.Path, opts.JSON = args[0], a.json
		return a.onHost(func(host engine.Host) error { return engine.PolicyCheck(cmd.Context(), host, opts) })
	}
	cmd.Flags().StringVar(&opts.Entry, "entry", "", `the package that is asked, as "data.team.rules"`)
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) policyTestCommand() *cobra.Command {
	var opts engine.PolicyCheckOptions
	cmd := &cobra.Command{
		Use: "test PATH", Short: "Run a policy's tests, with coverage", Args: exactly(1, "the policy: a Rego file or a directory"),
		Long: "Run what lies beside a policy: rules test_… of files _test.rego, and tables of\nactions in files _test.yaml, whose rows say an input and the expected answer:\n\n    actions:\n      - name: nobody writes keys\n        input: {operation: write, path: /workspace/a.pem}\n        expect: deny",
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		opts.Path, opts.JSON = args[0], a.json
		return a.onHost(func(host engine.Host) error { return engine.PolicyTest(host, opts) })
	}
	cmd.Flags().StringVar(&opts.Entry, "entry", "", `the package that is asked, as "data.team.rules"`)
	cmd.Flags().Float64Var(&opts.MinCoverage, "min-coverage", 0, "fail if fewer percent of the policy are covered")
	a.jsonFlag(cmd)
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
