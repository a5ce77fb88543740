// Package blob keeps content by its SHA-256 digest: the files of frozen
// changes and the manifests that name them.
//
// It is trusted to return exactly the bytes that were put under a digest, or
// an error, whatever happened to the machine in between: content becomes
// visible under its name only after it is on disk, and is hashed again when
// read. Whoever owns the directory can remove content but not change it
// unnoticed. It holds what agents wrote: the directory is private (0700).
package blob

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/carrel-dev/carrel"
)

// Errors of reading, to be told apart with errors.Is.
var (
	ErrNotFound = errors.New("content is not in the store")
	ErrDamaged  = errors.New("content in the store does not match its digest")
)

// Store is a content store in one directory. It is safe for concurrent use,
// also by several processes.
type Store struct {
	dir string

	mu     sync.Mutex // guards what follows: the packs' indexes, as far as read
	index  map[carrel.Digest]span
	known  map[string]bool
	listed bool
	// packsOpen are packs that were read, by path. They close when nobody holds
	// them any more.
	packsOpen map[string]*os.File
}

// Open makes the store's directory if need be.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir, index: map[carrel.Digest]span{}, known: map[string]bool{}, packsOpen: map[string]*os.File{}}
	for _, d := range []string{dir, s.staging(), s.packs()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("opening content store: %w", err)
		}
	}
	return s, nil
}

func (s *Store) staging() string { return filepath.Join(s.dir, "staging") }

// path spreads content over 256 directories.
func (s *Store) path(d carrel.Digest) (string, error) {
	if _, err := carrel.ParseDigest(string(d)); err != nil {
		return "", err
	}
	hex := d.Hex()
	return filepath.Join(s.dir, hex[:2], hex[2:]), nil
}

// Has reports whether content is there under d, without reading it.
func (s *Store) Has(d carrel.Digest) bool { return s.has(d, true) }

func (s *Store) has(d carrel.Digest, fresh bool) bool {
	p, err := s.path(d)
	if err != nil {
		return false
	}
	if _, packed := s.find(d, fresh); packed {
		return true
	}
	_, err = os.Lstat(p)
	return err == nil
}

// Size returns the length of the content under d.
func (s *Store) Size(d carrel.Digest) (int64, error) {
	f, err := s.open(d)
	if err != nil {
		return 0, err
	}
	f.close()
	return f.size, nil
}

// Read returns the content under d, verified. Content longer than limit is an
// error.
func (s *Store) Read(d carrel.Digest, limit int64) ([]byte, error) {
	f, err := s.open(d)
	if err != nil {
		return nil, err
	}
	defer f.close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("content %s: %w", d.Short(), err)
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("content %s is longer than %d bytes", d.Short(), limit)
	case !carrel.DigestBytes(b).Equal(d):
		return nil, fmt.Errorf("content %s: %w", d.Short(), ErrDamaged)
	}
	return b, nil
}

// CopyTo writes the content under d to the empty file dst, keeping holes and
// sharing blocks where the file system can, and returns its length. It
// returns ErrDamaged, with dst in any state, if the content is not d.
func (s *Store) CopyTo(dst *os.File, d carrel.Digest) (int64, error) {
	f, err := s.open(d)
	if err != nil {
		return 0, err
	}
	defer f.close()
	h := sha256.New()
	var n int64
	if f.part {
		n, err = io.Copy(io.MultiWriter(dst, h), f)
	} else {
		n, err = copyContent(dst, f.file, h)
	}
	if err != nil {
		return 0, fmt.Errorf("content %s: %w", d.Short(), err)
	}
	if got := carrel.DigestHash(h); !got.Equal(d) {
		return 0, fmt.Errorf("content %s: %w", d.Short(), ErrDamaged)
	}
	return n, nil
}

// Remove deletes what keep does not want kept. It is for pruning, when no
// batch is under way that could rely on content it found in place.
func (s *Store) Remove(keep func(carrel.Digest) bool) (removed int, bytes int64, err error) {
	err = filepath.WalkDir(s.dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			if err == nil && (p == s.staging() || p == s.packs()) {
				return fs.SkipDir
			}
			return err
		}
		d := carrel.Digest("sha256:" + filepath.Base(filepath.Dir(p)) + e.Name())
		if _, bad := carrel.ParseDigest(string(d)); bad != nil || strings.HasPrefix(e.Name(), ".") || keep(d) {
			return nil
		}
		if info, err := e.Info(); err == nil {
			bytes += info.Size()
		}
		removed++
		return os.Remove(p)
	})
	if err == nil {
		err = s.dropStaging()
	}
	if err == nil {
		var n int
		var size int64
		n, size, err = s.dropPacks(keep)
		removed, bytes = removed+n, bytes+size
	}
	if err != nil {
		return removed, bytes, fmt.Errorf("pruning content store: %w", err)
	}
	return removed, bytes, nil
}

// abandoned is the age at which a batch belongs to nobody any more.
const abandoned = 24 * time.Hour

func (s *Store) dropStaging() error {
	entries, err := os.ReadDir(s.staging())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
			if err := os.RemoveAll(filepath.Join(s.staging(), e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
