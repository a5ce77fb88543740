package audit

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"

	"github.com/carrel-dev/carrel/verify"
)

// Checkpoint makes everything recorded so far durable, signs the log's size
// and root, and keeps the result first in the second place and then in the
// log's directory. It returns the signed checkpoint.
func (l *Log) Checkpoint(ctx context.Context) ([]byte, error) {
	return l.signed(ctx, (*store).keepCheckpoint)
}

// Stand is Checkpoint for one that is kept nowhere: whoever has it must show
// it to nobody before a later Checkpoint has returned. It waits for the disk
// once less.
func (l *Log) Stand(ctx context.Context) ([]byte, error) {
	return l.signed(ctx, func(*store, []byte) error { return nil })
}

// signed signs where the log stands once everything before is durable, and
// returns that after keep.
func (l *Log) signed(ctx context.Context, keep func(*store, []byte) error) ([]byte, error) {
	if err := l.Flush(ctx); err != nil {
		return nil, err
	}
	l.storeMu.Lock()
	defer l.storeMu.Unlock()
	var signed []byte
	err := l.store.with(ctx, func() (err error) {
		if signed, err = l.store.checkpoint(l.keys); err != nil {
			return err
		}
		return keep(l.store, signed)
	})
	if err != nil {
		return nil, l.fail(fmt.Errorf("signing a checkpoint: %w", err))
	}
	return signed, nil
}

// checkpoint signs where the log stands.
func (s *store) checkpoint(keys keyring) ([]byte, error) {
	public, err := keys.public()
	if err != nil {
		return nil, err
	}
	last, ok, err := s.second.checkpoint(public)
	if err != nil {
		return nil, err
	}
	if ok { // never sign less than before, nor another past
		if err := s.contains(last.Size, last.Root, s.second.path); err != nil {
			return nil, err
		}
	}
	return sign(keys, verify.Checkpoint{Size: s.tail.Size, Root: s.root()})
}

// keepCheckpoint keeps a checkpoint in the second place and publishes it.
func (s *store) keepCheckpoint(signed []byte) error {
	if err := swapIn(s.disk, s.second.path, signed, true); err != nil {
		return err
	}
	return s.publishCheckpoint(signed)
}

// publishCheckpoint puts a checkpoint that the second place has into the log's
// directory. It does not wait for the disk: mendCheckpoint makes up for a copy
// that a power cut took.
func (s *store) publishCheckpoint(signed []byte) error {
	return swapIn(s.disk, filepath.Join(s.dir, verify.CheckpointFile), signed, false)
}

// mendCheckpoint publishes the second place's checkpoint again if the
// published one is not the same.
func (s *store) mendCheckpoint() error {
	kept, err := readSmall(s.second.path)
	if err != nil {
		return fmt.Errorf("reading the second place: %w", err)
	}
	if published, err := readSmall(filepath.Join(s.dir, verify.CheckpointFile)); err == nil && bytes.Equal(published, kept) {
		return nil
	}
	return s.publishCheckpoint(kept)
}

// sign signs c under the origin of the key.
func sign(keys keyring, c verify.Checkpoint) ([]byte, error) {
	signer, err := keys.signer()
	if err != nil {
		return nil, err
	}
	c.Origin = signer.Name()
	return note.Sign(&note.Note{Text: c.Text()}, signer)
}
