package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/verify"
)

// ErrNoRecord says that the log has no such record.
var ErrNoRecord = errors.New("no such record in the log")

// Checkpoint returns the newest published checkpoint, as signed, after
// checking its signature.
func (r *Reader) Checkpoint(key string) (verify.Checkpoint, []byte, error) {
	return readCheckpoint(filepath.Join(r.dir, verify.CheckpointFile), key)
}

// Prove returns the proof that the record with the given index is in the log
// as signed says, which must be a checkpoint of it by the given key.
func (r *Reader) Prove(index int64, signed []byte, key string) (verify.Proof, error) {
	c, err := OpenCheckpoint(signed, key)
	if err != nil {
		return verify.Proof{}, fmt.Errorf("proving record %d: %w", index, err)
	}
	if index < 0 || index >= c.Size {
		return verify.Proof{}, fmt.Errorf("proving record %d: the checkpoint covers %d records; sign a newer one with `carrel log checkpoint`", index, c.Size)
	}
	f, err := r.disk.open(filepath.Join(r.dir, verify.HashesFile), os.O_RDONLY)
	if err != nil {
		return verify.Proof{}, fmt.Errorf("proving record %d: %w", index, err)
	}
	defer f.Close()
	hashes, err := tlog.ProveRecord(c.Size, index, hashReader(f))
	if err != nil {
		return verify.Proof{}, fmt.Errorf("proving record %d: %w", index, err)
	}
	return verify.Proof{Index: index, Hashes: hashes, Checkpoint: signed}, nil
}

// Find returns the record with the given identifier. It reads the log from its
// beginning: identifiers are not indexed.
func (r *Reader) Find(ctx context.Context, id carrel.RecordID) (Entry, error) {
	for e, err := range r.From(ctx, 0) {
		if err != nil || e.Record.ID == id {
			return e, err
		}
	}
	return Entry{}, fmt.Errorf("%s: %w", id, ErrNoRecord)
}

// Get returns the record with the given index.
func (r *Reader) Get(ctx context.Context, index int64) (Entry, error) {
	minimum, err := r.Minimum()
	if err != nil {
		return Entry{}, err
	}
	if index >= 0 && index < minimum {
		return Entry{}, fmt.Errorf("record %d: %w", index, ErrRetained)
	}
	if index >= 0 {
		for e, err := range r.From(ctx, index) {
			return e, err
		}
	}
	return Entry{}, fmt.Errorf("record %d: %w", index, ErrNoRecord)
}
