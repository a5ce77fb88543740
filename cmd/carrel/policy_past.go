package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
)

func (a *app) policyShowCommand() *cobra.Command {
	var opts engine.PolicyOptions
	cmd := &cobra.Command{
		Use: "show", Short: "Show the policy in force, and where each rule comes from", Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.onHost(func(host engine.Host) error { return engine.PolicyShow(cmd.Context(), host, opts, a.json) })
		},
	}
	policyFlags(cmd, &opts)
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) policyDiffCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff OLD NEW", Short: "Show what a new policy answers otherwise", Args: exactly(2, "two policies: the old and the new"),
		Long: "Ask two policies, each with the built-in floor, about inputs that the words of\nboth suggest, and show those they answer differently: what the new one lets by\nfirst.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onHost(func(host engine.Host) error { return engine.PolicyDiff(cmd.Context(), host, args[0], args[1], a.json) })
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) policyExplainCommand() *cobra.Command {
	var opts engine.PolicyOptions
	cmd := &cobra.Command{
		Use: "explain ACTION", Short: "Say why an action was allowed or refused", Args: exactly(1, "an action, as act_…"),
		Long: "Say why an action of the log was allowed or refused: the rules that held, the\nvalues they looked at, and the narrowest change that would decide otherwise. It\nneeds the log and the policy, and neither a run nor a network.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onRecords(func(r *engine.Records) error { return r.PolicyExplain(cmd.Context(), args[0], opts, a.json) })
		},
	}
	policyFlags(cmd, &opts)
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) policySimulateCommand() *cobra.Command {
	var opts engine.PolicySimulateOptions
	cmd := &cobra.Command{
		Use: "simulate --candidate PATH", Short: "Replay recorded actions against a policy that is not in force", Args: atMost(0),
		Long: "Replay what was decided in the last runs, and by hooks of clients since the\nfirst of them, against a candidate, with the built-in floor and what those runs\nwere granted: what becomes allowed, asked, denied.\nExit code 1 if anything becomes more open than it was, unless --accept says\nthat somebody has read it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needFlags(cmd, "candidate"); err != nil {
				return err
			}
			opts.JSON = a.json
			return a.onRecords(func(r *engine.Records) error { return r.PolicySimulate(cmd.Context(), opts) })
		},
	}
	cmd.Flags().StringVar(&opts.Candidate, "candidate", "", "the policy to try: a Rego file or a directory")
	cmd.Flags().IntVar(&opts.Runs, "runs", 10, "replay the last so many runs; 0: all")
	cmd.Flags().BoolVar(&opts.Accept, "accept", false, "do not fail if something becomes allowed")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) policyLearnCommand() *cobra.Command {
	var opts engine.PolicyLearnOptions
	cmd := &cobra.Command{
		Use: "learn [RUN…]", Short: "Propose narrow rules for what runs were refused, or asked and allowed",
		Long: "Propose rules that allow exactly what the runs were refused, with their tests,\nand the lines that the configuration would need, with how often and where the\nlog has it. RUN may be latest, which is the default. What no grant would have allowed is said to be\nso. What a rule asked about and a person allowed becomes a list of exceptions,\nratified, with who allowed it, how often, and where the log has it. Nothing is\nput in force: read it, and place it yourself. What the built-in floor answers\nis left out.",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Runs, opts.JSON = args, a.json
			if a.json && opts.Output != "" {
				return &engine.UsageError{Err: errors.New("--json prints what --output writes: give one of them")}
			}
			return a.onRecords(func(r *engine.Records) error { return r.PolicyLearn(cmd.Context(), opts) })
		},
	}
	cmd.Flags().BoolVar(&opts.Hooks, "hooks", false, "take what hooks of clients asked outside a desk")
	cmd.Flags().StringVarP(&opts.Output, "output", "o", "", "write the files into this directory (default: print them)")
	a.jsonFlag(cmd)
	return cmd
}
