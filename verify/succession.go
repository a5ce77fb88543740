package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/carrel-dev/carrel"
)

// maxSuccessions bounds how often a log's key can have been replaced.
const maxSuccessions = 1000

// SuccessionFile is the name of the proof of a log's nth change of its key,
// counted from 1, in the log's directory.
func SuccessionFile(n int) string { return fmt.Sprintf("succession-%d%s", n, ProofSuffix) }

// SuccessionNote is what the record of a change of the key says.
func SuccessionNote(old, fresh string) string { return "key_succession: " + old + " " + fresh }

// Successor returns the key to which the holder of a log's old key handed the
// log. The proof must carry the record that names both, and a checkpoint that
// both have signed.
func Successor(p Proof, old string) (fresh string, err error) {
	r, err := Record(p.Extra)
	if err != nil {
		return "", fmt.Errorf("succession: %w", err)
	}
	fresh, ok := strings.CutPrefix(string(r.Note), SuccessionNote(old, ""))
	if !ok || r.Kind != carrel.KindLog {
		return "", errors.New("succession: the record hands the log to no key")
	}
	if _, err := p.Check(p.Extra, old); err != nil {
		return "", fmt.Errorf("succession, by the old key: %w", err)
	}
	if _, err := p.Check(p.Extra, fresh); err != nil {
		return "", fmt.Errorf("succession, by the new key: %w", err)
	}
	return fresh, nil
}

// CurrentKey returns the key that signs the log in dir now, for somebody who
// knows a key that once did.
func CurrentKey(dir, key string) (string, error) {
	if _, err := note.NewVerifier(key); err != nil {
		return "", fmt.Errorf("reading the log's public key: %w", err)
	}
	err := successions(dir, func(n int, p Proof) error {
		fresh, err := Successor(p, key)
		switch {
		case err == nil:
			key = fresh
		case strings.Contains(string(p.Extra), key+" "):
			return &Fault{File: SuccessionFile(n), Record: p.Index, Reason: err.Error()}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return key, nil
}

// EarlierKeys returns the keys that signed the log in dir before the given one
// did, the newest first, for somebody who knows that one: each proof of a
// change is signed by the key that came after it as well.
func EarlierKeys(dir, key string) ([]string, error) {
	before := map[string]string{}
	err := successions(dir, func(_ int, p Proof) error {
		r, err := Record(p.Extra)
		if err != nil {
			return nil
		}
		words := strings.Fields(string(r.Note)) // of a SuccessionNote
		if len(words) != 3 {
			return nil
		}
		if fresh, err := Successor(p, words[1]); err == nil {
			before[fresh] = words[1]
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []string
	for old := before[key]; old != "" && len(out) < maxSuccessions; old = before[old] {
		out = append(out, old)
	}
	return out, nil
}

// successions calls each with the proofs of the changes of the key of the log
// in dir, in their order.
func successions(dir string, each func(n int, p Proof) error) error {
	for n := 1; n <= maxSuccessions; n++ {
		raw, err := readRegular(filepath.Join(dir, SuccessionFile(n)), maxProof)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return &Fault{File: SuccessionFile(n), Reason: err.Error()}
		}
		p, err := ParseProof(raw)
		if err != nil {
			return &Fault{File: SuccessionFile(n), Reason: err.Error()}
		}
		if err := each(n, p); err != nil {
			return err
		}
	}
	return fmt.Errorf("the log's key was replaced more than %d times", maxSuccessions)
}
