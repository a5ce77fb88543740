package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/internal/engine"
)

func (a *app) logProveCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "prove RECORD", Short: "Write the proof that a record is in the log", Args: exactly(1, "RECORD"),
		Long: `RECORD is the index that "carrel log show" prints first, or an identifier
(rec_…). The proof is a C2SP tlog-proof: record, index, hashes and a signed
checkpoint. It can be checked with nothing but the log's public key.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onRecords(func(r *engine.Records) error { return r.LogProve(cmd.Context(), args[0], out) })
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "write the proof to this file instead of stdout")
	return cmd
}

func (a *app) logExportCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "export [RUN]", Short: "Write the records of a run, with proofs if a directory is given", Args: atMost(1),
		Long: `RUN may be latest, which is the default: the newest run in this workspace, or
of all where this workspace has none. Without --output the records go to stdout,
one JSON object per line, byte for byte as they were hashed. With it a new
directory gets records.jsonl, records.proofs.jsonl, the signed checkpoint and
log.vkey: enough to check, without the log, that the records are in it and that
none of the run is missing.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onRecords(func(r *engine.Records) error { return r.LogExport(cmd.Context(), first(args), out) })
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "make this directory")
	return cmd
}

func (a *app) logCheckpointCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "checkpoint", Short: "Sign how far the log has come, and publish its tiles", Args: atMost(0),
		Long: `Prints the signed checkpoint: keep copies of it where nobody who can write
here can write. The tiles directory of the log is then complete up to it, in
the C2SP tlog-tiles layout, and any static file server can serve it. The
witnesses that the configuration names are asked to cosign it.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.onRecords(func(r *engine.Records) error { return r.LogCheckpoint(cmd.Context(), a.json) })
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) logServeCommand() *cobra.Command {
	var opts engine.LogServeOptions
	cmd := &cobra.Command{
		Use: "serve [DIR]", Short: "Let monitors read the log over HTTP", Args: atMost(1),
		Long: `Serves checkpoint, tiles and entries as C2SP tlog-tiles, for reading only,
until it is interrupted. Whoever reaches the address reads every record: the
default is this machine alone, and then only what is asked of it by address, or
as localhost, is answered. That the log is served is recorded in it.

With DIR a copy of a log, or of its tiles, is served as it is: it may be read
only, and another's. Nothing is written to it, and no log records the act.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				opts.Copy = args[0]
			}
			return a.onRecords(func(r *engine.Records) error { return r.LogServe(cmd.Context(), opts) })
		},
	}
	cmd.Flags().StringVar(&opts.Listen, "listen", "127.0.0.1:0", "address and port; port 0 takes a free one")
	return cmd
}

func (a *app) logRetainCommand() *cobra.Command {
	return &cobra.Command{
		Use: "retain INDEX", Short: "Show no records before INDEX any more", Args: exactly(1, "INDEX"),
		Long: `Records before INDEX are no longer shown, exported or served. They stay in the
files, because the tree is made of them: every proof stays right, the log can
be checked whole, and a smaller INDEX shows them again. The log records it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			index, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || index < 0 {
				return &engine.UsageError{Err: fmt.Errorf("%q is not the index of a record", args[0])}
			}
			return a.onRecords(func(r *engine.Records) error { return r.LogRetain(cmd.Context(), index) })
		},
	}
}

func (a *app) logRotateKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate-key", Short: "Hand the log to a new signing key", Args: atMost(0),
		Long: `The last thing the old key signs, together with the new one, is a checkpoint
whose last record names both. Who trusts the old key finds the new one by that
proof; the private half of the old key is destroyed.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.onRecords(func(r *engine.Records) error { return r.LogRotateKey(cmd.Context(), a.json) })
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
