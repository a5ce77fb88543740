package blob

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/carrel-dev/carrel"
	"golang.org/x/sys/unix"
)

// Batch puts many contents with one wait for the disk: they are written to a
// private directory, made durable together, and only then moved to their
// names. Its methods are safe for concurrent use, Commit and Abort excepted.
type Batch struct {
	store *Store
	dir   string
	next  atomic.Int64

	mu  sync.Mutex // guards put
	put map[carrel.Digest]string
}

// Batch begins a batch. The caller must end it with Commit or Abort.
func (s *Store) Batch() (*Batch, error) {
	dir, err := os.MkdirTemp(s.staging(), "batch-")
	if err != nil {
		return nil, fmt.Errorf("beginning a batch of content: %w", err)
	}
	return &Batch{store: s, dir: dir, put: make(map[carrel.Digest]string)}, nil
}

// PutBytes adds b and returns its digest.
func (b *Batch) PutBytes(content []byte) (carrel.Digest, error) {
	d := carrel.DigestBytes(content)
	if b.known(d) {
		return d, nil
	}
	f, err := b.create()
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := io.Copy(f, bytes.NewReader(content)); err != nil {
		return "", fmt.Errorf("storing content: %w", err)
	}
	b.keep(d, f.Name())
	return d, nil
}

// PutFile adds what src holds from its start, which must be a regular file,
// and returns digest and length, and how much of head it filled with the
// start of the content. Holes stay holes. All three are of the bytes that were
// stored, whoever writes to src meanwhile.
func (b *Batch) PutFile(src *os.File, head []byte) (d carrel.Digest, size int64, filled int, err error) {
	f, err := b.create()
	if err != nil {
		return "", 0, 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err = copyContent(f, src, h)
	if err == nil {
		filled, err = f.ReadAt(head[:min(int64(len(head)), size)], 0)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		_ = os.Remove(f.Name())
		return "", 0, 0, fmt.Errorf("storing content: %w", err)
	}
	d = carrel.DigestHash(h)
	if b.known(d) {
		_ = os.Remove(f.Name())
	} else {
		b.keep(d, f.Name())
	}
	return d, size, filled, nil
}

func (b *Batch) create() (*os.File, error) {
	name := filepath.Join(b.dir, strconv.FormatInt(b.next.Add(1), 36))
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("storing content: %w", err)
	}
	return f, nil
}

func (b *Batch) known(d carrel.Digest) bool {
	b.mu.Lock()
	_, ok := b.put[d]
	b.mu.Unlock()
	return ok || b.store.Has(d)
}

func (b *Batch) keep(d carrel.Digest, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.put[d]; ok {
		_ = os.Remove(name)
		return
	}
	b.put[d] = name
}

// Commit makes the batch durable and then visible. After an error some of the
// contents may be visible; all that are visible are whole.
func (b *Batch) Commit() error {
	defer b.Abort()
	if len(b.put) == 0 {
		return nil
	}
	dir, err := os.Open(b.store.dir)
	if err != nil {
		return fmt.Errorf("committing content: %w", err)
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("committing content: %w", err)
	}
	for d, name := range b.put {
		if err := b.place(d, name); err != nil {
			return fmt.Errorf("committing content: %w", err)
		}
	}
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("committing content: %w", err)
	}
	return nil
}

func (b *Batch) place(d carrel.Digest, name string) error {
	p, err := b.store.path(d)
	if err != nil {
		return err
	}
	err = os.Rename(name, p)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.Mkdir(filepath.Dir(p), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		err = os.Rename(name, p)
	}
	return err
}

// Abort drops what was not committed. It does nothing after Commit.
func (b *Batch) Abort() {
	_ = os.RemoveAll(b.dir)
	b.put = nil
}
