package main

import (
	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
)

func (a *app) reportCommand() *cobra.Command {
	var opts engine.ReportOptions
	cmd := &cobra.Command{
		Use: "report", Short: "Count what was allowed, asked and denied, by operation and rule", Args: atMost(0),
		Long: "Add the log up: how often each operation was decided how, by which rule, how\nlong it took, and what was found odd. --denials lists what was refused, the most\nfrequent first.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.JSON = a.json
			return a.onRecords(func(r *engine.Records) error { return r.Report(cmd.Context(), opts) })
		},
	}
	f := cmd.Flags()
	f.BoolVar(&opts.Denials, "denials", false, "what was refused, and how often")
	f.StringVar(&opts.Run, "run", "", "of this run only")
	lengthFlag(f, &opts.Since, "since", 0, "of the last hours only, as in 24h (default: all)")
	f.BoolVar(&opts.Prometheus, "prometheus", false, "print metrics in Prometheus' text format")
	a.jsonFlag(cmd)
	return cmd
}
