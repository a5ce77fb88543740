package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/engine"
	"github.com/carrel-dev/carrel/internal/terminal"
)

const policyHelp = `Write, test and read policies.

A policy is Rego that answers allow, deny and ask for one action at a time. The
built-in floor is always asked too. None of these verbs needs a run; they work
on every system.

    carrel policy init policy           a policy to start from, with tests
    carrel policy check policy          what does it let by?
    carrel policy test policy           run its tests, with coverage
    carrel policy eval --policy policy --input action.json
    carrel policy simulate --candidate policy
    carrel policy show                  what is in force, and from where`

func (a *app) policyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "Write, test and read policies", Long: policyHelp, Args: noSuchVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(a.policyInitCommand(), a.policyCheckCommand(), a.policyTestCommand(), a.policyEvalCommand(),
		a.policyCheckChangeCommand(), a.policyInputsCommand(), a.policyShowCommand(), a.policyDiffCommand(), a.policyExplainCommand(), a.policySimulateCommand(), a.policyLearnCommand(),
		a.policyBundleCommand())
	return cmd
}

// policyFlags says which policy a verb asks.
func policyFlags(cmd *cobra.Command, opts *engine.PolicyOptions) {
	cmd.Flags().StringArrayVar(&opts.Paths, "policy", nil, "a Rego file, a directory or a signed bundle, asked with the built-in floor and nothing else; repeatable (default: the configuration's)")
	cmd.Flags().StringArrayVar(&opts.Keys, "key", nil, "a public key that may have signed a bundle; repeatable")
	cmd.Flags().StringVar(&opts.Entry, "entry", "", `the package that is asked, as "data.team.rules" (default: cowork.access, and what says governs)`)
}

func (a *app) policyEvalCommand() *cobra.Command {
	var opts engine.PolicyEvalOptions
	cmd := &cobra.Command{
		Use: "eval --input FILE", Short: "Decide one action that is given as JSON", Args: atMost(0),
		Long: "Decide one action, given as the JSON that policies see: {\"operation\": \"write\",\n\"path\": \"/workspace/a\"}. What is missing, of another type or unclean is denied,\nas at the gate. Exit code 0 allows, 3 denies, 4 asks.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			host, err := a.host()
			if err != nil {
				return err
			}
			opts.JSON = a.json
			answer, err := engine.PolicyEval(cmd.Context(), host, opts)
			if err != nil {
				return err
			}
			return verdictStatus(answer.Verdict)
		},
	}
	policyFlags(cmd, &opts.PolicyOptions)
	cmd.Flags().StringVar(&opts.Input, "input", "-", "the action: a file, or - for standard input")
	a.jsonFlag(cmd)
	return cmd
}

// verdictStatus is the exit code of an answer.
func verdictStatus(v carrel.Verdict) error {
	switch v {
	case carrel.Allow:
		return nil
	case carrel.Ask:
		return &exitStatus{code: exitPending}
	}
	return &exitStatus{code: exitDenied}
}

func (a *app) policyBundleCommand() *cobra.Command {
	var opts engine.PolicyBundleOptions
	cmd := &cobra.Command{
		Use: "bundle PATH", Short: "Write a policy as a signed bundle", Args: exactly(1, "the policy: a Rego file or a directory"),
		Long: "Write a policy as an OPA bundle that one key has signed, file by file. Name the\nbundle under policy in the configuration, and the public key under policy_keys:\na bundle that is not signed by such a key, or is older than the last, is refused.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needFlags(cmd, "revision", "signing-key"); err != nil {
				return err
			}
			opts.Path = args[0]
			if err := engine.PolicyBundle(opts); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "wrote %s, revision %s\n", terminal.Escape(opts.Output), terminal.Escape(opts.Revision))
			return nil
		},
	}
	cmd.Flags().StringVarP(&opts.Output, "output", "o", "bundle.tar.gz", "where to write it")
	cmd.Flags().StringVar(&opts.Revision, "revision", "", "what this policy is called; a later one must sort after it")
	cmd.Flags().StringVar(&opts.Key, "signing-key", "", "a private key in PEM: ECDSA, RSA or Ed25519")
	cmd.Flags().StringVar(&opts.KeyName, "key-name", "", "what checks call the key (default: the name of its file)")
	return cmd
}
