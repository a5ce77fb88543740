package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/demo"
	"github.com/carrel-dev/carrel/internal/engine"
	"github.com/carrel-dev/carrel/internal/terminal"
)

func (a *app) demoCommand() *cobra.Command {
	var opts demo.Options
	cmd := &cobra.Command{
		Use: "demo", Short: "Walk through the main job on a sample repository", Args: atMost(0),
		Long: "Make a sample repository in a temporary directory, let a small scripted agent\ndo useful and hostile things at a desk, and show what was refused and why, the\nreview, an approval, the applied branch and the verified log.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			opts.Self, opts.Path, opts.Stdout, opts.Stderr = self, os.Getenv("PATH"), a.stdout, a.stderr
			opts.Color = terminal.Colors(a.stdout, a.noColor)
			err = demo.Run(cmd.Context(), opts)
			if errors.Is(err, demo.ErrNoSuchAgent) {
				return &engine.UsageError{Err: err}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&opts.Agent, "agent", "", "claude: use the real Claude Code client, driven by a scripted model on loopback")
	cmd.Flags().BoolVar(&opts.Keep, "keep", false, "leave the sample repository and say where it is")
	return cmd
}
