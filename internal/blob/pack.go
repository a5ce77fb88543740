package blob

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/carrel-dev/carrel"
)

// Small contents of one batch share a file, a pack: ten thousand files of a
// change must not cost ten thousand files of the store. Beside each pack lies
// an index of fixed-size entries (digest, offset, length) that ends with its
// own SHA-256.

// maxPacked is the length up to which contents are packed. Longer ones are
// files, whose blocks can be shared and whose holes stay holes.
const maxPacked = 64 << 10

const entrySize = sha256.Size + 16

// span is where a packed content lies.
type span struct {
	pack        string
	offset, len int64
}

func (s *Store) packs() string { return filepath.Join(s.dir, "packs") }

// find looks d up in the packs. With fresh, packs that were added since, also
// by other processes, are read on a miss.
func (s *Store) find(d carrel.Digest, fresh bool) (span, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.index[d]
	if !ok && (fresh || !s.listed) {
		s.listed = true
		s.readIndexes()
		at, ok = s.index[d]
	}
	return at, ok
}

// readIndexes adds what is not known yet. A damaged index hides its pack: the
// contents count as missing, never as something else.
func (s *Store) readIndexes() {
	entries, _ := os.ReadDir(s.packs())
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".index")
		if !ok || s.known[name] {
			continue
		}
		s.known[name] = true
		for d, at := range readIndex(filepath.Join(s.packs(), name)) {
			s.index[d] = at
		}
	}
}

func readIndex(pack string) map[carrel.Digest]span {
	raw, err := os.ReadFile(pack + ".index")
	if err != nil || len(raw) < sha256.Size {
		return nil
	}
	raw, sum := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	if got := sha256.Sum256(raw); !bytes.Equal(got[:], sum) || len(raw)%entrySize != 0 {
		return nil
	}
	out := make(map[carrel.Digest]span, len(raw)/entrySize)
	for ; len(raw) > 0; raw = raw[entrySize:] {
		d := carrel.Digest("sha256:" + hex.EncodeToString(raw[:sha256.Size]))
		out[d] = span{pack + ".pack", int64(binary.BigEndian.Uint64(raw[sha256.Size:])), int64(binary.BigEndian.Uint64(raw[sha256.Size+8:]))}
	}
	return out
}

func writeIndex(path string, spans map[carrel.Digest]span) error {
	raw := make([]byte, 0, len(spans)*entrySize+sha256.Size)
	for d, at := range spans {
		sum, err := hex.DecodeString(d.Hex())
		if err != nil {
			return fmt.Errorf("indexing %s: %w", d, err)
		}
		raw = append(raw, sum...)
		raw = binary.BigEndian.AppendUint64(raw, uint64(at.offset))
		raw = binary.BigEndian.AppendUint64(raw, uint64(at.len))
	}
	sum := sha256.Sum256(raw)
	return os.WriteFile(path, append(raw, sum[:]...), 0o600)
}

// content is an open content: a file, or a part of one that stays open.
type content struct {
	io.Reader
	file *os.File
	size int64
	part bool
}

func (c content) close() {
	if !c.part {
		c.file.Close()
	}
}

// maxOpen bounds the packs that are kept open: the contents of a change lie in
// one, and are read one after the other.
const maxOpen = 16

func (s *Store) openPack(path string) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.packsOpen[path]; ok {
		return f, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if len(s.packsOpen) >= maxOpen {
		// Whoever reads one of them holds on to it; it closes when they let go.
		clear(s.packsOpen)
	}
	s.packsOpen[path] = f
	return f, nil
}

func (s *Store) open(d carrel.Digest) (content, error) {
	p, err := s.path(d)
	if err != nil {
		return content{}, err
	}
	if at, ok := s.find(d, true); ok {
		f, err := s.openPack(at.pack)
		if err != nil {
			return content{}, fmt.Errorf("content %s: %w", d.Short(), err)
		}
		return content{io.NewSectionReader(f, at.offset, at.len), f, at.len, true}, nil
	}
	f, err := os.Open(p)
	if errors.Is(err, fs.ErrNotExist) {
		return content{}, fmt.Errorf("content %s: %w", d.Short(), ErrNotFound)
	}
	if err != nil {
		return content{}, fmt.Errorf("content %s: %w", d.Short(), err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return content{}, fmt.Errorf("content %s: %w", d.Short(), err)
	}
	return content{f, f, info.Size(), false}, nil
}

// dropPacks deletes packs none of whose contents is kept.
func (s *Store) dropPacks(keep func(carrel.Digest) bool) (removed int, size int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names, err := filepath.Glob(filepath.Join(s.packs(), "*.pack"))
	if err != nil {
		return 0, 0, err
	}
	for _, name := range names {
		pack := strings.TrimSuffix(name, ".pack")
		spans, needed := readIndex(pack), false
		for d := range spans {
			needed = needed || keep(d)
		}
		if needed {
			continue
		}
		if err := errors.Join(os.Remove(pack+".index"), os.Remove(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, size, err
		}
		for d, at := range spans {
			size += at.len
			removed++
			delete(s.index, d)
		}
		delete(s.packsOpen, name)
		delete(s.known, filepath.Base(pack))
	}
	return removed, size, nil
}
