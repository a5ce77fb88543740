package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel/verify"
)

// side holds the two files derived from the segments: the tree's hashes, for
// proofs, and the index, for finding a record or a run without reading the log.
type side struct {
	hashes, index       file
	hashBuf, indexBuf   []byte
	hashSize, indexSize int64 // where the buffers go
}

// seek makes size the number of records that both files cover.
func (s *side) seek(size int64) {
	s.hashBuf, s.indexBuf = s.hashBuf[:0], s.indexBuf[:0]
	s.hashSize = tlog.StoredHashCount(size) * tlog.HashSize
	s.indexSize = size * verify.IndexEntry
}

// add queues what one record adds to both files.
func (s *side) add(stored []tlog.Hash, offset int64, run [16]byte) {
	for _, h := range stored {
		s.hashBuf = append(s.hashBuf, h[:]...)
	}
	s.indexBuf = binary.BigEndian.AppendUint64(s.indexBuf, uint64(offset))
	s.indexBuf = append(s.indexBuf, run[:]...)
}

func (s *side) flush() error {
	if err := writeAll(s.hashes, s.hashBuf, s.hashSize); err != nil {
		return fmt.Errorf("writing the log's hashes: %w", err)
	}
	if err := writeAll(s.index, s.indexBuf, s.indexSize); err != nil {
		return fmt.Errorf("writing the log's index: %w", err)
	}
	s.hashSize += int64(len(s.hashBuf))
	s.indexSize += int64(len(s.indexBuf))
	s.hashBuf, s.indexBuf = s.hashBuf[:0], s.indexBuf[:0]
	return nil
}

func (s *side) sync() error { return errors.Join(s.hashes.sync(), s.index.sync()) }

// hashReader reads stored hashes from a file of them.
func hashReader(f io.ReaderAt) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, n := range indexes {
			if _, err := f.ReadAt(out[i][:], n*tlog.HashSize); err != nil {
				return nil, fmt.Errorf("reading hash %d of the log: %w", n, err)
			}
		}
		return out, nil
	})
}

// readPrefix reads at most n bytes from the start of f.
func readPrefix(f io.ReaderAt, n int) ([]byte, error) {
	buf := make([]byte, n)
	got, err := f.ReadAt(buf, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return buf[:got], nil
}
