package audit

import (
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
	if err := l.Flush(ctx); err != nil {
		return nil, err
	}
	l.storeMu.Lock()
	defer l.storeMu.Unlock()
	var signed []byte
	err := l.store.with(ctx, func() (err error) {
		signed, err = l.store.checkpoint(l.keys)
		return err
	})
	if err != nil {
		return nil, l.fail(fmt.Errorf("signing a checkpoint: %w", err))
	}
	return signed, nil
}

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
	signed, err := sign(keys, verify.Checkpoint{Size: s.tail.Size, Root: s.root()})
	if err != nil {
		return nil, err
	}
	if err := replace(s.disk, s.second.path, signed); err != nil {
		return nil, err
	}
	return signed, replace(s.disk, filepath.Join(s.dir, verify.CheckpointFile), signed)
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
