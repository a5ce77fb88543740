//go:build linux

package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
)

func (a *app) evidenceCommand() *cobra.Command {
	var opts engine.EvidenceOptions
	cmd := &cobra.Command{
		Use: "evidence [RUN] -o DIR|FILE.tar.zst", Short: "Pack what others need to check a run offline", Args: atMost(1),
		Long: "Write the records of a run with proofs that the log has them, the policy that\ndecided, the approvals, the change, its attestations and the public keys into a\ndirectory or an archive, with a README that says how to check all of it with\npublic tools. RUN may be latest, which is the default: the newest run in this\nworkspace. The pack is signed, and the signing is recorded.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if opts.Output == "" {
				return &engine.UsageError{Err: errors.New("say where to: carrel evidence -o ../evidence.tar.zst packs the newest run of this workspace into a file beside it, and -o DIR into a directory")}
			}
			opts.JSON = a.json
			return a.onEngine(cmd, func(e *engine.Engine) error { return e.Evidence(cmd.Context(), first(args), opts) })
		},
	}
	cmd.Flags().StringVarP(&opts.Output, "output", "o", "", "where to: a new directory, or a new file that ends in .tar.zst")
	a.jsonFlag(cmd)
	return cmd
}
