package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel/verify"
)

// Proof shows that a record is in the log that a checkpoint signed.
type Proof struct {
	Index      int64
	Leaf       tlog.Hash
	Hashes     []tlog.Hash
	Checkpoint []byte // signed
}

// ErrNotSigned says that no checkpoint covers a record yet.
var ErrNotSigned = errors.New("no checkpoint covers the record yet; make one with `carrel log checkpoint`")

// Prove returns the proof that the record with the given index is in the log
// that the newest published checkpoint signed. key is the log's public key.
func (r *Reader) Prove(index int64, key string) (Proof, error) {
	c, signed, err := readCheckpoint(filepath.Join(r.dir, verify.CheckpointFile), key)
	if errors.Is(err, fs.ErrNotExist) || err == nil && index >= c.Size {
		return Proof{}, ErrNotSigned
	}
	if err != nil {
		return Proof{}, err
	}
	if index < 0 {
		return Proof{}, fmt.Errorf("the log has no record %d", index)
	}
	f, err := r.open(verify.HashesFile)
	if err != nil {
		return Proof{}, err
	}
	defer f.Close()
	hashes := hashReader(f)
	leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
	if err != nil {
		return Proof{}, err
	}
	path, err := tlog.ProveRecord(c.Size, index, hashes)
	if err != nil {
		return Proof{}, fmt.Errorf("proving record %d: %w", index, err)
	}
	if err := tlog.CheckRecord(path, c.Size, c.Root, index, leaf[0]); err != nil {
		return Proof{}, fmt.Errorf("%w: its hashes do not lead to the signed root; see `carrel log verify`", ErrDamaged)
	}
	return Proof{index, leaf[0], path, signed}, nil
}
