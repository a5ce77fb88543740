//go:build linux

package main

import (
	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
)

func (a *app) whyCommand() *cobra.Command {
	var opts engine.WhyOptions
	cmd := &cobra.Command{
		Use: "why FILE:LINE|COMMIT", Short: "Say which run a line or a commit comes from, and who agreed", Args: exactly(1, "a line (FILE:LINE) or a commit"),
		Long: "From a line of code, or a commit, back to the run that made it: the action, what\npolicy decided and by which rule, who approved, and what was attested. It says\nhow sure that is: a commit that Carrel made, a file that is byte for byte what a\nchange made it, or only a line of the same text. Lines that no agent is known to\nhave touched say so.",
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.JSON = a.json
			return a.onEngine(cmd, func(e *engine.Engine) error { return e.Why(cmd.Context(), args[0], opts) })
		},
	}
	cmd.Flags().StringVar(&opts.Workspace, "workspace", "", "the workspace (default: that of the file, or of the current directory)")
	a.jsonFlag(cmd)
	return cmd
}
