package audit

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/verify"
)

// nextKeyFile is the key that a rotation is about to put in force.
const nextKeyFile = privateKeyFile + ".next"

// RotateKey hands the log to a new key and returns its public half. The last
// thing the old key signs, with the new one, is a checkpoint whose last record
// names both; who knows the old key finds the new one by that. It is returned,
// too: witnesses that know the old key cosign it, and nothing after it. The
// private half of the old key is gone after this.
//
// The rotation is done once that checkpoint is in the second place: a crash
// before it leaves the old key in force, one after it the new one.
func (l *Log) RotateKey(ctx context.Context) (fresh string, signed []byte, err error) {
	if err := l.Flush(ctx); err != nil {
		return "", nil, err
	}
	l.storeMu.Lock()
	defer l.storeMu.Unlock()
	err = l.store.with(ctx, func() (err error) {
		fresh, signed, err = l.store.rotateKey(l.keys)
		return err
	})
	if err != nil {
		return "", nil, l.fail(fmt.Errorf("replacing the log's key: %w", err))
	}
	return fresh, signed, nil
}

func (s *store) rotateKey(keys keyring) (string, []byte, error) {
	old, err := keys.signer()
	if err != nil {
		return "", nil, err
	}
	public, err := keys.public()
	if err != nil {
		return "", nil, err
	}
	private, fresh, err := note.GenerateKey(rand.Reader, old.Name())
	if err != nil {
		return "", nil, fmt.Errorf("making the log's new key: %w", err)
	}
	next, err := newSigner(private)
	if err != nil {
		return "", nil, err
	}
	if err := replace(s.disk, filepath.Join(keys.dir, nextKeyFile), []byte(private+"\n")); err != nil {
		return "", nil, err
	}
	record := carrel.Record{Kind: carrel.KindLog, Note: carrel.Text(verify.SuccessionNote(public, fresh))}
	stamp(&record)
	l, err := encode(&record)
	if err != nil {
		return "", nil, err
	}
	l.hash()
	if err := s.commit([]*line{l}, func() {}, func() {}); err != nil {
		return "", nil, err
	}
	c := verify.Checkpoint{Origin: old.Name(), Size: s.tail.Size, Root: s.root()}
	signed, err := note.Sign(&note.Note{Text: c.Text()}, old, next)
	if err != nil {
		return "", nil, err
	}
	if err := replace(s.disk, s.second.path, signed); err != nil {
		return "", nil, err
	}
	fresh, err = s.settleKey(keys, "")
	return fresh, signed, err
}

// settleKey ends a rotation that was begun: forward if both keys have signed,
// else back to the given private key. It returns the public key in force.
func (s *store) settleKey(keys keyring, private string) (string, error) {
	next, err := keys.read(nextKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return keys.mend(private)
	}
	if err != nil {
		return "", err
	}
	path := filepath.Join(keys.dir, nextKeyFile)
	c, signed, err := s.signedBy(next)
	if err != nil {
		return "", err
	}
	if signed == nil { // not even a key, or one that signed nothing yet
		if err := s.disk.remove(path); err != nil {
			return "", err
		}
		return keys.mend(private)
	}
	// Who knows the old key can read what both signed; who follows the proof of
	// the change cannot read what the old key signed alone. So this comes first.
	if err := replace(s.disk, filepath.Join(s.dir, verify.CheckpointFile), signed); err != nil {
		return "", err
	}
	if err := s.writeSuccession(c, signed); err != nil {
		return "", err
	}
	if err := s.disk.rename(path, filepath.Join(keys.dir, privateKeyFile)); err != nil {
		return "", err
	}
	if err := s.disk.syncDir(keys.dir); err != nil {
		return "", err
	}
	return keys.mend(next)
}

// signedBy returns the second place's checkpoint if the private key, which may
// be cut short, has signed it; else nil.
func (s *store) signedBy(private string) (verify.Checkpoint, []byte, error) {
	key, err := newSigner(private)
	if err != nil {
		return verify.Checkpoint{}, nil, nil
	}
	signed, err := readSmall(s.second.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return verify.Checkpoint{}, nil, fmt.Errorf("reading the second place: %w", err)
	}
	c, err := OpenCheckpoint(signed, key.public)
	if err != nil {
		return verify.Checkpoint{}, nil, nil
	}
	return c, signed, nil
}

// writeSuccession keeps the proof of the change that the checkpoint ends in.
func (s *store) writeSuccession(c verify.Checkpoint, signed []byte) error {
	entry, err := (&Reader{s.dir, s.disk}).last(c.Size)
	if err != nil {
		return err
	}
	hashes, err := tlog.ProveRecord(c.Size, c.Size-1, hashReader(s.side.hashes))
	if err != nil {
		return fmt.Errorf("proving the change of the key: %w", err)
	}
	p := verify.Proof{Extra: entry.Raw, Index: c.Size - 1, Hashes: hashes, Checkpoint: signed}
	for n := 1; ; n++ {
		path := filepath.Join(s.dir, verify.SuccessionFile(n))
		there, err := readSmall(path)
		switch {
		case err == nil && bytes.Equal(there, p.Bytes()):
			return nil
		case errors.Is(err, fs.ErrNotExist):
			return replace(s.disk, path, p.Bytes())
		case err != nil:
			return err
		}
	}
}

// last returns the last of size records.
func (r *Reader) last(size int64) (Entry, error) {
	for e, err := range r.every(context.Background(), size-1) {
		return e, err
	}
	return Entry{}, fmt.Errorf("record %d: %w", size-1, ErrNoRecord)
}
