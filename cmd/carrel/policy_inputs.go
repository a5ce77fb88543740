package main

import (
	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
)

func (a *app) policyInputsCommand() *cobra.Command {
	var opts engine.PolicyInputsOptions
	cmd := &cobra.Command{
		Use: "inputs", Short: "Print recorded actions as policies saw them, for Conftest and its like", Args: atMost(0),
		Long: "Print the actions of the last runs, files of their changes included, as policies\nsaw them: a stream of YAML documents. Programs that evaluate the same rules read\nit:\n\n    carrel policy inputs > actions.yaml\n    conftest test actions.yaml --policy policy --namespace cowork.access",
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.JSON = a.json
			return a.onRecords(func(r *engine.Records) error { return r.PolicyInputs(cmd.Context(), opts) })
		},
	}
	cmd.Flags().IntVar(&opts.Runs, "runs", 10, "of the last so many runs; 0: all")
	cmd.Flags().StringSliceVar(&opts.Operations, "operation", nil, "only these operations, as in write,delete")
	a.jsonLinesFlag(cmd)
	return cmd
}
