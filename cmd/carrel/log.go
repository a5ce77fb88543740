package main

import (
	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
)

func (a *app) logCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "log", Short: "Read and check the log", Args: noSuchVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(a.logShowCommand(), a.logVerifyCommand(), a.logProveCommand(), a.logExportCommand(), a.logCheckpointCommand(),
		a.logServeCommand(), a.logRetainCommand(), a.logRotateKeyCommand(), a.logRecoverCommand())
	return cmd
}

func (a *app) logShowCommand() *cobra.Command {
	var opts engine.LogShowOptions
	cmd := &cobra.Command{
		Use: "show [RUN]", Short: "Show records: of a run, of the latest, or all", Args: atMost(1),
		Long: "Show the records of a run. RUN may be latest, which is the default: the newest\nrun in this workspace, or of all where this workspace has none.",
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Run, opts.JSON = first(args), a.json
			return a.onRecords(func(r *engine.Records) error { return r.LogShow(cmd.Context(), opts) })
		},
	}
	cmd.Flags().BoolVar(&opts.All, "all", false, "every record of the log")
	cmd.Flags().BoolVar(&opts.Follow, "follow", false, "go on as records arrive")
	a.jsonLinesFlag(cmd)
	return cmd
}

func (a *app) logVerifyCommand() *cobra.Command {
	var opts engine.LogVerifyOptions
	cmd := &cobra.Command{
		Use: "verify", Short: "Check the log: every record, the tree and the signed checkpoint", Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.JSON = a.json
			return a.onRecords(func(r *engine.Records) error { return r.LogVerify(cmd.Context(), opts) })
		},
	}
	cmd.Flags().BoolVar(&opts.Incremental, "incremental", false, "only what came since the last check, and that the log still contains it")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) logRecoverCommand() *cobra.Command {
	var accept bool
	cmd := &cobra.Command{
		Use: "recover", Short: "Go on with a log that was restored from a backup", Args: atMost(0),
		Long: "A log that is older than its own newest checkpoint refuses to start: somebody\nmay have taken records away. If you restored a backup yourself, this records\nthe gap and goes on.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.onRecords(func(r *engine.Records) error { return r.LogRecover(cmd.Context(), accept) })
		},
	}
	cmd.Flags().BoolVar(&accept, "accept-rollback", false, "record that records are missing, and go on")
	return cmd
}
