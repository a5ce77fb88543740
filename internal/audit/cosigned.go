package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/verify"
)

// KeepCosigned keeps a checkpoint that Checkpoint returned and to whose end
// signature lines of witnesses were added. It is the log's newest cosigned one
// from now on, and the published one, too, unless a later one has been signed
// meanwhile. The log's own signature is checked; the
// caller has checked the others.
func (l *Log) KeepCosigned(ctx context.Context, cosigned []byte) error {
	public, err := l.keys.public()
	if err != nil {
		return err
	}
	c, err := OpenCheckpoint(cosigned, public)
	if errors.Is(err, verify.ErrUntrusted) {
		return nil // the key was rotated meanwhile: nothing goes on from this one
	}
	if err != nil {
		return err
	}
	l.storeMu.Lock()
	defer l.storeMu.Unlock()
	if err := l.store.with(ctx, func() error { return l.store.keepCosigned(c, cosigned, public) }); err != nil {
		return l.fail(fmt.Errorf("keeping a cosigned checkpoint: %w", err))
	}
	return nil
}

func (s *store) keepCosigned(c verify.Checkpoint, cosigned []byte, public string) error {
	path := filepath.Join(s.dir, verify.CosignedFile)
	if before, _, err := readCheckpoint(path, public); err == nil && before.Size > c.Size {
		return nil // another process was further
	}
	if err := swapIn(s.disk, path, cosigned, true); err != nil {
		return err
	}
	if err := s.witnessSuccession(cosigned); err != nil {
		return err
	}
	newest, err := readSmall(s.second.path)
	if err != nil || !sameText(newest, cosigned) {
		return err
	}
	return s.keepCheckpoint(cosigned)
}

// witnessSuccession puts cosignatures into the proof of the last change of the
// key, if it is that checkpoint which was cosigned: who follows the proof sees
// that the log had no other past when it was handed on.
func (s *store) witnessSuccession(cosigned []byte) error {
	for n := 1; ; n++ {
		path := filepath.Join(s.dir, verify.SuccessionFile(n))
		raw, err := readSmall(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if p, err := verify.ParseProof(raw); err == nil && sameText(p.Checkpoint, cosigned) {
			p.Checkpoint = cosigned
			return replace(s.disk, path, p.Bytes())
		}
	}
}

// setCosignedAside keeps what witnesses cosigned of a past that is accepted as
// lost.
func (s *store) setCosignedAside() error {
	path := filepath.Join(s.dir, verify.CosignedFile)
	err := s.disk.rename(path, fmt.Sprintf("%s.refused-%d-%s", path, s.tail.Size, carrel.NewRecordID()[4:]))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// sameText reports whether two signed notes say the same.
func sameText(a, b []byte) bool {
	x, _, ok := bytes.Cut(a, []byte("\n\n"))
	y, _, ok2 := bytes.Cut(b, []byte("\n\n"))
	return ok && ok2 && bytes.Equal(x, y)
}

// Cosigned returns the newest checkpoint that witnesses have cosigned, after
// checking the log's own signature. Where there is none by the key in force,
// the error wraps fs.ErrNotExist.
func (r *Reader) Cosigned(key string) (verify.Checkpoint, []byte, error) {
	c, signed, err := readCheckpoint(filepath.Join(r.dir, verify.CosignedFile), key)
	if errors.Is(err, verify.ErrUntrusted) { // from before the key was rotated
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return c, signed, err
}

// ProveTree returns the proof that the tree of c contains the log's own past of
// size old, which is what goes to who has seen that. It is checked: what is
// refused elsewhere was refused for another past.
func (r *Reader) ProveTree(c verify.Checkpoint, old int64) ([]tlog.Hash, error) {
	f, err := r.disk.open(filepath.Join(r.dir, verify.HashesFile), os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	hashes := hashReader(f)
	proof, err := tlog.ProveTree(c.Size, old, hashes)
	if err != nil {
		return nil, err
	}
	root, err := tlog.TreeHash(old, hashes)
	if err != nil {
		return nil, err
	}
	if err := tlog.CheckTree(proof, c.Size, c.Root, old, root); err != nil {
		return nil, fmt.Errorf("the log's hashes do not lead to its checkpoint; see carrel log verify: %w", err)
	}
	return proof, nil
}
