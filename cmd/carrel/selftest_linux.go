package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
	"github.com/carrel-dev/carrel/internal/sandbox/attack"
)

// attackVerb is how this program is called at the desk that it attacks.
const attackVerb = "attack"

const selfTestHelp = `Attack the walls on this machine, and say what held.

Every attack is tried at a real desk, built for the purpose: a home with
canaries instead of yours, servers of its own on loopback, and the process that
walls the desk in. Each has a twin, the legitimate thing right next to it, which
must work. An attack that gets through only opens; it writes nothing.

    carrel selftest
    carrel selftest --json | jq '.attacks[] | select(.held | not)'

Exit code 0: everything held. 1: something did not. 125: no desk can be built.`

func (a *app) selfTestCommand() *cobra.Command {
	opts := engine.SelfTestOptions{Via: []string{attackVerb}}
	cmd := &cobra.Command{
		Use:   "selftest",
		Short: "Attack the walls on this machine, and say what held",
		Long:  selfTestHelp,
		Args:  atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			host, err := a.host()
			if err != nil {
				return err
			}
			opts.JSON, opts.NoColor = a.json, a.noColor
			ok, err := engine.SelfTest(cmd.Context(), host, opts)
			if err == nil && !ok {
				return &exitStatus{code: exitError}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&opts.Tier, "tier", "", "the kind of walls (default and only: native)")
	a.jsonFlag(cmd)
	return cmd
}

// attackCommand is what selftest runs inside.
func (a *app) attackCommand() *cobra.Command {
	return &cobra.Command{
		Use: attackVerb, Hidden: true, DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if code := attack.Main(os.Args[0], []string{attackVerb}, args); code != 0 {
				return &exitStatus{code: code}
			}
			return nil
		},
	}
}
