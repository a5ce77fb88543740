package verify

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"
)

func readHashes(f io.ReaderAt, indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, n := range indexes {
		if _, err := f.ReadAt(out[i][:], n*tlog.HashSize); err != nil {
			return nil, fmt.Errorf("reading stored hash %d: %w", n, err)
		}
	}
	return out, nil
}

// sideFile is a derived file that is compared with what it is derived from.
// What it lacks at its end is no fault: it is made up for from the segments.
type sideFile struct {
	name   string
	f      *os.File
	r      *bufio.Reader
	offset int64
}

func openSide(dir, name string, offset int64) (*sideFile, error) {
	f, err := openRegular(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return &sideFile{name: name}, nil
	}
	if err != nil {
		return nil, &Fault{File: name, Reason: err.Error()}
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		f.Close()
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return &sideFile{name, f, bufio.NewReaderSize(f, 64<<10), offset}, nil
}

func (s *sideFile) match(want []byte, record int64) error {
	if s.r == nil {
		return nil
	}
	got, err := s.r.Peek(len(want))
	if err == io.EOF {
		s.close()
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", s.name, err)
	}
	if string(got) != string(want) {
		return &Fault{s.name, s.offset, record, "it is not what the record gives: the record was changed after it was written, or this derived file was"}
	}
	s.offset += int64(len(want))
	_, err = s.r.Discard(len(want))
	return err
}

func (s *sideFile) close() {
	if s != nil && s.f != nil {
		s.f.Close()
		s.f, s.r = nil, nil
	}
}
