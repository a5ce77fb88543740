package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/internal/private"
	"github.com/carrel-dev/carrel/verify"
)

// LogProve writes the proof that a record, named by its index or identifier,
// is in the log. Nothing but the log's public key is needed to check it.
func (e *Records) LogProve(ctx context.Context, name, out string) error {
	key, err := e.logKey()
	if err != nil {
		return err
	}
	reader := audit.OpenReader(e.state("log"))
	entry, err := findRecord(ctx, reader, name)
	if err != nil {
		return err
	}
	signed, err := e.covering(ctx, reader, key, entry.Index)
	if err != nil {
		return err
	}
	proof, err := reader.Prove(entry.Index, signed, key)
	if err != nil {
		return err
	}
	proof.Extra = entry.Raw
	if _, err := proof.Check(entry.Raw, key); err != nil {
		return &hintError{fmt.Errorf("the log's hashes do not prove its record: %w", err), "see carrel log verify"}
	}
	if out == "" {
		_, err = e.host.Stdout.Write(proof.Bytes())
		return err
	}
	return private.Replace(out, proof.Bytes())
}

// findRecord finds a record by its index or identifier.
func findRecord(ctx context.Context, reader *audit.Reader, name string) (audit.Entry, error) {
	if index, err := strconv.ParseInt(name, 10, 64); err == nil {
		return reader.Get(ctx, index)
	}
	if err := carrel.CheckID(name, "rec_"); err != nil {
		return audit.Entry{}, &hintError{misused("%q is neither the index nor the identifier of a record", name), "carrel log show prints the index first; --json the id"}
	}
	return reader.Find(ctx, carrel.RecordID(name))
}

// covering returns a signed checkpoint that covers the record with the given
// index, one that witnesses have cosigned before others, signing one if there
// is none yet.
func (e *Records) covering(ctx context.Context, reader *audit.Reader, key string, index int64) ([]byte, error) {
	if c, signed, err := reader.Cosigned(key); err == nil && index < c.Size {
		return signed, nil
	}
	c, signed, err := reader.Checkpoint(key)
	if err == nil && index < c.Size {
		return signed, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	err = e.withLog(ctx, func(log *audit.Log) (err error) {
		signed, err = log.Checkpoint(ctx)
		return err
	})
	return signed, err
}

// LogExport writes the records of a run: as lines to stdout, or with proofs,
// checkpoint and key into a new directory that can be checked without the log.
func (e *Records) LogExport(ctx context.Context, name, out string) error {
	key, err := e.logKey()
	if err != nil {
		return err
	}
	run, err := e.runNamed(ctx, name)
	if err != nil {
		return err
	}
	if run == "" {
		return noRun(e.root(ctx))
	}
	reader := audit.OpenReader(e.state("log"))
	var entries []audit.Entry
	for entry, err := range reader.Run(ctx, run) {
		if err != nil {
			return err
		}
		entries = append(entries, entry)
	}
	if len(entries) == 0 {
		return noRecords(name)
	}
	if out != "" {
		if err := e.exportTo(ctx, reader, key, entries, out); err != nil {
			return err
		}
	} else if err := writeLines(e.host.Stdout, entries); err != nil {
		return err
	}
	if err := e.wholeRun(ctx, run); errors.Is(err, audit.ErrRetained) {
		fmt.Fprintf(e.host.Stderr, "what is exported is not all: %v\n", err)
	}
	if !closed(entries) {
		fmt.Fprintf(e.host.Stderr, "run %s has no last record: it goes on, or was killed\n", run)
	}
	return nil
}

func closed(entries []audit.Entry) bool {
	return slices.ContainsFunc(entries, func(e audit.Entry) bool {
		return e.Record.Kind == carrel.KindRunEnd && e.Record.RunSeq > 0
	})
}

func writeLines(w io.Writer, entries []audit.Entry) error {
	for _, entry := range entries {
		if _, err := w.Write(append(bytes.Clone(entry.Raw), '\n')); err != nil {
			return err
		}
	}
	return nil
}

func (e *Records) exportTo(ctx context.Context, reader *audit.Reader, key string, entries []audit.Entry, dir string) error {
	signed, err := e.covering(ctx, reader, key, entries[len(entries)-1].Index)
	if err != nil {
		return err
	}
	var records, proofs bytes.Buffer
	if err := writeLines(&records, entries); err != nil {
		return err
	}
	for _, entry := range entries {
		line, err := proofLine(reader, entry.Index, signed, key)
		if err != nil {
			return err
		}
		proofs.Write(line)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("exporting: %w", err)
	}
	for name, content := range map[string][]byte{verify.RecordsFile: records.Bytes(), verify.ProofsFile: proofs.Bytes(),
		verify.PackCheckpoint: signed, verify.LogKeyFile: []byte(key + "\n")} {
		if err := private.Replace(filepath.Join(dir, name), content); err != nil {
			return fmt.Errorf("exporting: %w", err)
		}
	}
	return nil
}

// proofLine is the line of records.proofs.jsonl for a record.
func proofLine(reader *audit.Reader, index int64, signed []byte, key string) ([]byte, error) {
	p, err := reader.Prove(index, signed, key)
	if err != nil {
		return nil, err
	}
	line := verify.RecordProof{Index: index, Hashes: make([][]byte, len(p.Hashes))}
	for i := range p.Hashes {
		line.Hashes[i] = p.Hashes[i][:]
	}
	encoded, err := carrel.Canonical(line)
	return append(encoded, '\n'), err
}
