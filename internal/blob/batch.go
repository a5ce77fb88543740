package blob

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
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

	mu     sync.Mutex // guards what follows
	put    map[carrel.Digest]string
	pack   *os.File // nil until something is packed
	length int64
	packed map[carrel.Digest]span
}

// Batch begins a batch. The caller must end it with Commit or Abort.
func (s *Store) Batch() (*Batch, error) {
	dir, err := os.MkdirTemp(s.staging(), "batch-")
	if err != nil {
		return nil, fmt.Errorf("beginning a batch of content: %w", err)
	}
	return &Batch{store: s, dir: dir, put: map[carrel.Digest]string{}, packed: map[carrel.Digest]span{}}, nil
}

// PutBytes adds b and returns its digest.
func (b *Batch) PutBytes(content []byte) (carrel.Digest, error) {
	d := carrel.DigestBytes(content)
	if b.known(d) {
		return d, nil
	}
	if len(content) <= maxPacked {
		return d, b.append(d, content)
	}
	f, err := b.create()
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return "", fmt.Errorf("storing content: %w", err)
	}
	b.keep(d, f.Name())
	return d, nil
}

// append packs a small content.
func (b *Batch) append(d carrel.Digest, content []byte) (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.packed[d]; ok {
		return nil
	}
	if b.pack == nil {
		if b.pack, err = b.create(); err != nil {
			return err
		}
	}
	if _, err := b.pack.WriteAt(content, b.length); err != nil {
		return fmt.Errorf("storing content: %w", err)
	}
	b.packed[d] = span{offset: b.length, len: int64(len(content))}
	b.length += int64(len(content))
	return nil
}

// small holds contents on their way into a pack.
var small = sync.Pool{New: func() any { return new([maxPacked + 1]byte) }}

// putSmall packs src if it is short enough; done says whether it was.
func (b *Batch) putSmall(src *os.File, head []byte) (d carrel.Digest, size int64, filled int, done bool, err error) {
	info, err := src.Stat()
	if err != nil || info.Size() > maxPacked {
		return "", 0, 0, false, err
	}
	buf := small.Get().(*[maxPacked + 1]byte)
	defer small.Put(buf)
	n, err := io.ReadFull(io.NewSectionReader(src, 0, maxPacked+1), buf[:])
	switch {
	case err == nil:
		return "", 0, 0, false, nil // it has grown meanwhile
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return "", 0, 0, false, fmt.Errorf("storing content: %w", err)
	}
	content := buf[:n]
	if d, err = b.PutBytes(content); err != nil {
		return "", 0, 0, false, err
	}
	return d, int64(n), copy(head, content), true, nil
}

// PutFile adds what src holds from its start, which must be a regular file,
// and returns digest and length, and how much of head it filled with the
// start of the content. Holes stay holes. All three are of the bytes that were
// stored, whoever writes to src meanwhile.
func (b *Batch) PutFile(src *os.File, head []byte) (d carrel.Digest, size int64, filled int, err error) {
	if d, size, filled, done, err := b.putSmall(src, head); done || err != nil {
		return d, size, filled, err
	}
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
	if !ok {
		_, ok = b.packed[d]
	}
	b.mu.Unlock()
	return ok || b.store.has(d, false) // missing one only stores it twice
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
	if len(b.put) == 0 && len(b.packed) == 0 {
		return nil
	}
	if err := b.commit(); err != nil {
		return fmt.Errorf("committing content: %w", err)
	}
	return nil
}

func (b *Batch) commit() error {
	files, dirs := []string{}, map[string]bool{}
	for _, name := range b.put {
		files = append(files, name)
	}
	if b.pack != nil {
		if err := writeIndex(b.pack.Name()+".index", b.packed); err != nil {
			return err
		}
		files = append(files, b.pack.Name(), b.pack.Name()+".index")
	}
	if err := b.store.sync(files); err != nil {
		return err
	}
	for d, name := range b.put {
		dir, err := b.place(d, name)
		if err != nil {
			return err
		}
		dirs[dir], dirs[b.store.dir] = true, true
	}
	if b.pack != nil { // the index last: without it a pack holds nothing
		to := filepath.Join(b.store.packs(), filepath.Base(b.dir))
		if err := os.Rename(b.pack.Name(), to+".pack"); err != nil {
			return err
		}
		if err := os.Rename(b.pack.Name()+".index", to+".index"); err != nil {
			return err
		}
		dirs[b.store.packs()] = true
	}
	return b.store.sync(slices.Collect(maps.Keys(dirs)))
}

// maxSynced is how many files are synced one by one; for more of them one
// wait for the whole file system, whoever else writes to it, is shorter.
const maxSynced = 64

// sync makes files or directories durable.
func (s *Store) sync(paths []string) error {
	all := len(paths) > maxSynced
	if all {
		paths = []string{s.dir}
	}
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		if all {
			err = unix.Syncfs(int(f.Fd()))
		} else {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// place gives a stored file its name and returns the directory.
func (b *Batch) place(d carrel.Digest, name string) (dir string, err error) {
	p, err := b.store.path(d)
	if err != nil {
		return "", err
	}
	err = os.Rename(name, p)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.Mkdir(filepath.Dir(p), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		err = os.Rename(name, p)
	}
	return filepath.Dir(p), err
}

// Abort drops what was not committed. It does nothing after Commit.
func (b *Batch) Abort() {
	if b.pack != nil {
		_ = b.pack.Close()
	}
	_ = os.RemoveAll(b.dir)
	b.put, b.packed, b.pack = nil, nil, nil
}
