package audit

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel/verify"
)

// Prove returns the hashes that lead from the record at index to the root of
// the log's first size records.
func (r *Reader) Prove(index, size int64) (tlog.RecordProof, error) {
	f, err := r.disk.open(filepath.Join(r.dir, verify.HashesFile), os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("proving record %d: %w", index, err)
	}
	defer f.Close()
	proof, err := tlog.ProveRecord(size, index, hashReader(f))
	if err != nil {
		return nil, fmt.Errorf("proving record %d: %w", index, err)
	}
	return proof, nil
}
