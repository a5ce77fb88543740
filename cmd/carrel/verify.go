package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
)

const verifyHelp = `Check an evidence pack (a directory or FILE.tar.zst), the attestations of a
commit of this repository or of a range of them (A..B), one attestation
(FILE.sigstore.json), a proof that the log has a record (FILE.tlog-proof), or the
records that "carrel log export -o DIR" wrote, and say in plain words what is proved, by which key, and what is not.

It needs no network, no state and no other program but git, and that only for
commits. Name the keys you trust with --key; where none is named, the keys of
this machine count. A pack that was signed by other keys is checked with the
keys that came with it, which proves that it is whole and not whose it is.

    carrel verify evidence/ --key attestation.pub
    carrel verify HEAD --key attestation.pub --policy merge.rego
    carrel verify origin/main..HEAD --key attestation.pub --policy merge.rego
    carrel verify record.tlog-proof --log-key log.vkey

With --policy everything that is attested must be allowed by that Rego: this is
the check for a CI job. What it sees is in spec/attestation.md. No attestation,
or one wrong one among several, fails. Exit codes: 0 all is right, 1 something
is wrong, 3 the policy does not allow it.

With --witnesses every checkpoint must be cosigned as that file says, in the
lines that Sigsum and Tessera read, with keys as in log.vkey:

    log VKEY
    witness NAME VKEY
    group NAME N|any|all WITNESS...
    quorum NAME

A name that is both a file's and a commit's is refused: write ./NAME for the
file, refs/heads/NAME for the branch.

Of a range every commit is checked that is attested or whose message names a
run. Others prove nothing and are said to be so; --every refuses them. A range
in which nothing is attested fails.`

func (a *app) verifyCommand() *cobra.Command {
	var opts engine.VerifyOptions
	cmd := &cobra.Command{
		Use: "verify PACK|COMMIT|A..B|FILE", Short: "Check evidence offline, and say what it proves", Long: verifyHelp, Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &engine.UsageError{Err: errors.New("say what to check: a pack, a commit, a range of commits, an attestation or a proof")}
			}
			opts.JSON = a.json
			return a.onHost(func(host engine.Host) error { return engine.Verify(cmd.Context(), host, args[0], opts) })
		},
	}
	cmd.Flags().StringArrayVar(&opts.Keys, "key", nil, "public key that you trust, in PEM (attestation.pub); repeatable")
	cmd.Flags().StringVar(&opts.LogKey, "log-key", "", "key of the log that you trust (log.vkey)")
	cmd.Flags().StringVar(&opts.Witnesses, "witnesses", "", "witness policy (lines log, witness, group, quorum) that every checkpoint must meet")
	cmd.Flags().StringVar(&opts.Policy, "policy", "", "Rego file or directory that must allow what is attested")
	cmd.Flags().StringVar(&opts.Artifact, "artifact", "", "with FILE: a file that the attestation must be about, or the record that the proof is of")
	cmd.Flags().BoolVar(&opts.Every, "every", false, "with A..B: every commit must be attested")
	a.jsonFlag(cmd)
	return cmd
}
