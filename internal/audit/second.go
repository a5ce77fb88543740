package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel/verify"
)

// second is the second place: outside the log's directory it remembers the
// newest signed checkpoint, and beside it, in "<path>.head", size and root
// after the last batch. The head is not signed and not made durable: it costs
// one write a batch and notices a log that was put back while the machine ran;
// the checkpoint is durable and notices one that was put back later.
type second struct {
	path string
	head file
}

type headMark struct {
	Size int64  `json:"size"`
	Root []byte `json:"root"`
}

const maxHead = 512

func openSecond(d disk, path string) (second, error) {
	if err := privateDir(filepath.Dir(path)); err != nil {
		return second{}, err
	}
	f, err := d.open(path+".head", os.O_RDWR|os.O_CREATE)
	return second{path, f}, err
}

// read returns the head; ok is false if there is none that can be read.
func (p *second) read() (m headMark, ok bool, err error) {
	raw, err := readPrefix(p.head, maxHead)
	if err != nil {
		return m, false, fmt.Errorf("reading the second place: %w", err)
	}
	if unseal(raw, &m) != nil || len(m.Root) != tlog.HashSize {
		return headMark{}, false, nil
	}
	return m, true, nil
}

// mark remembers how far the log has come.
func (p *second) mark(size int64, root tlog.Hash) error {
	raw, err := seal(&headMark{size, root[:]})
	if err != nil {
		return err
	}
	if err := writeAll(p.head, raw, 0); err != nil {
		return fmt.Errorf("writing the second place: %w", err)
	}
	return nil
}

// compare refuses a log that is behind the head, or has another past.
func (p *second) compare(s *store) error {
	m, ok, err := p.read()
	if err != nil || !ok {
		return err
	}
	return s.contains(m.Size, tlog.Hash(m.Root), p.path+".head")
}

// contains reports whether the log, in its first size records, has the given
// root, as the named witness remembers it.
func (s *store) contains(size int64, root tlog.Hash, witness string) error {
	if size > s.tail.Size {
		return fmt.Errorf("%w: %s knows %d records and the log has %d; restore the newer log, or accept the loss with `carrel log recover --accept-rollback`",
			ErrRolledBack, witness, size, s.tail.Size)
	}
	tree := s.tree.Clone()
	if size < s.tail.Size {
		var err error
		if tree, err = verify.TreeAt(size, hashReader(s.side.hashes)); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	if tree.Root() != root {
		return fmt.Errorf("%w: its first %d records are not those that %s knows: it was replaced, copied and continued elsewhere, or changed; see `carrel log verify`",
			ErrRolledBack, size, witness)
	}
	return nil
}

// checkpoint reads the newest signed checkpoint, if there is one.
func (p *second) checkpoint(key string) (verify.Checkpoint, bool, error) {
	c, _, err := readCheckpoint(p.path, key)
	if errors.Is(err, fs.ErrNotExist) {
		return verify.Checkpoint{}, false, nil
	}
	return c, err == nil, err
}

func readCheckpoint(path, key string) (verify.Checkpoint, []byte, error) {
	signed, err := readSmall(path)
	if err != nil {
		return verify.Checkpoint{}, nil, fmt.Errorf("reading a checkpoint: %w", err)
	}
	c, err := OpenCheckpoint(signed, key)
	if err != nil {
		return verify.Checkpoint{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, signed, nil
}
