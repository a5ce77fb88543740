//go:build linux

package main

import (
	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
)

func (a *app) identityCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "identity", Short: "The keys that others check your attestations and log with", Args: noSuchVerb,
		Long: "Attestations are signed with a key that the first apply makes, or by a program\nof yours (signing in the configuration). Give the public halves to those who\ncheck, by a way they trust.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.identityShowCommand(), a.identityRotateCommand(), a.identityExportCommand())
	return cmd
}

func (a *app) identityShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show", Short: "Print the keys by their digests", Args: atMost(0),
		RunE: a.withEngine(func(_ *cobra.Command, e *engine.Engine, _ []string) error { return e.IdentityShow(a.json) }),
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) identityRotateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate", Short: "Sign with a new key from now on", Args: atMost(0),
		Long: "Make a new attestation key and destroy the old private half. What it signed\nstays right: its public half is kept, and recorded.",
		RunE: a.withEngine(func(cmd *cobra.Command, e *engine.Engine, _ []string) error {
			return e.IdentityRotate(cmd.Context(), a.json)
		}),
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) identityExportCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "export", Short: "Write the public keys for others", Args: atMost(0),
		Long: "Write attestation.pub (PEM) and log.vkey (the key of a signed note) to a\ndirectory, or print both.",
		RunE: a.withEngine(func(cmd *cobra.Command, e *engine.Engine, _ []string) error {
			return e.IdentityExport(cmd.Context(), dir)
		}),
	}
	cmd.Flags().StringVarP(&dir, "output", "o", "", "directory to write to (default: print)")
	return cmd
}

func (a *app) attestCommand() *cobra.Command {
	cmd := a.onChange("attest [CHANGE|RUN]", "Sign what is known of a change, again or for the first time",
		"Sign provenance, a trace and a verification result of a change, and prove that\nthe log has them. Apply does this by itself; attest does it for a change that\nwas not applied, or could not be attested then. Unless one is named, it is the\nnewest change that was applied, or where none was the newest that waits;\nthe answer says which.",
		func(cmd *cobra.Command, e *engine.Engine, sel engine.Selection) error {
			return e.Attest(cmd.Context(), sel, engine.AttestOptions{JSON: a.json})
		})
	a.jsonFlag(cmd)
	return cmd
}
