package approval

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/private"
)

// maxAnswer bounds an answer's file: a reason is a sentence.
const maxAnswer = 64 << 10

// find returns the answer that counts: a living denial, else the grant, else
// whatever expired.
func (s *Store) find(digest carrel.Digest) (carrel.Approval, bool, error) {
	denial, denied, err := s.read(digest, false)
	if err != nil || denied && s.now().Before(denial.Expires) {
		return denial, denied, err
	}
	grant, granted, err := s.read(digest, true)
	if err != nil || !granted {
		return denial, denied, err
	}
	if s.Confirm != nil {
		if err := s.Confirm(grant); err != nil {
			return carrel.Approval{}, false, fmt.Errorf("the stored approval of %s is not confirmed: %w", digest.Short(), err)
		}
	}
	return grant, true, nil
}

// path keeps yes and no apart, so that neither of two people who answer at
// once can overwrite the other.
func (s *Store) path(digest carrel.Digest, granted bool) (string, error) {
	if _, err := carrel.ParseDigest(string(digest)); err != nil {
		return "", err
	}
	if granted {
		return filepath.Join(s.dir, digest.Hex()+".granted.json"), nil
	}
	return filepath.Join(s.dir, digest.Hex()+".denied.json"), nil
}

// read returns one stored answer. A file that this user did not write, that
// others could have changed, or that does not say exactly what its name says
// is an error: an answer in doubt is no answer.
func (s *Store) read(digest carrel.Digest, granted bool) (p carrel.Approval, found bool, err error) {
	path, err := s.path(digest, granted)
	if err != nil {
		return p, false, err
	}
	raw, err := private.Read(path, maxAnswer)
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	if err != nil {
		return p, false, fmt.Errorf("reading an approval: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return carrel.Approval{}, false, fmt.Errorf("reading approval %s: %w", path, err)
	}
	if again, err := carrel.Canonical(p); err != nil || !bytes.Equal(again, raw) {
		return carrel.Approval{}, false, fmt.Errorf("approval %s is not in canonical form; it was edited, remove it and answer again", path)
	}
	if !p.Action.Equal(digest) || p.Granted != granted {
		return carrel.Approval{}, false, fmt.Errorf("approval %s is about something else than its name says; remove it and answer again", path)
	}
	return p, true, nil
}

// write makes p durable: after it returned nil, a power cut loses nothing;
// before, the old answer is whole.
func (s *Store) write(p carrel.Approval) error {
	path, err := s.path(p.Action, p.Granted)
	if err != nil {
		return fmt.Errorf("storing an approval: %w", err)
	}
	raw, err := carrel.Canonical(p)
	if err == nil && len(raw) > maxAnswer {
		err = fmt.Errorf("larger than %d bytes; give a shorter reason", maxAnswer)
	}
	if err == nil {
		err = private.Replace(path, raw)
	}
	if err != nil {
		return fmt.Errorf("storing an approval: %w", err)
	}
	return nil
}

func (s *Store) remove(p carrel.Approval) error {
	path, err := s.path(p.Action, p.Granted)
	if err == nil {
		err = os.Remove(path)
	}
	if err == nil {
		err = private.SyncDir(s.dir)
	}
	if err != nil {
		return fmt.Errorf("taking an answer back: %w", err)
	}
	return nil
}
