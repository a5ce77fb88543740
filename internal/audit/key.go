package audit

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Names of the key files. Both are signed-note keys in their text form.
const (
	privateKeyFile = "log.key"
	publicKeyFile  = "log.vkey"
)

// maxKey bounds a key file.
const maxKey = 1024

// ErrNoKey says that a log exists whose key does not.
var ErrNoKey = errors.New("the log's signing key is missing")

// keyring reads the log's keys where and when they are needed.
type keyring struct {
	dir  string
	disk disk
}

// check refuses keys that others could have read or put there, and returns the
// private one. Only for an empty log are missing keys made.
func (k keyring) check(empty bool) (private string, err error) {
	if err := privateDir(k.dir); err != nil {
		return "", err
	}
	private, err = k.read(privateKeyFile)
	if !errors.Is(err, fs.ErrNotExist) {
		return private, err
	}
	if !empty {
		return "", fmt.Errorf("%w: restore %s from a backup; or move the log and its second place away to begin a new one", ErrNoKey, filepath.Join(k.dir, privateKeyFile))
	}
	if err := k.create(); err != nil {
		return "", err
	}
	return k.read(privateKeyFile)
}

// create makes the keys. Their name is the log's origin: a new one for each
// installation, so that no log can stand in for another.
func (k keyring) create() error {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails (Go 1.24 and later)
	private, public, err := note.GenerateKey(rand.Reader, "carrel.local/log/"+hex.EncodeToString(id[:]))
	if err != nil {
		return fmt.Errorf("making the log's key: %w", err)
	}
	if err := replace(k.disk, filepath.Join(k.dir, publicKeyFile), []byte(public+"\n")); err != nil {
		return err
	}
	return replace(k.disk, filepath.Join(k.dir, privateKeyFile), []byte(private+"\n"))
}

func (k keyring) read(name string) (string, error) {
	f, err := k.disk.open(filepath.Join(k.dir, name), os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := readPrefix(f, maxKey)
	return strings.TrimSuffix(string(b), "\n"), err
}

// mend returns the public key, and writes it again if it is not that of the
// private one: a change of the key ended in between.
func (k keyring) mend(private string) (string, error) {
	public, err := k.public()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	parts := strings.SplitN(public, "+", 3) // name+hash+key
	if len(parts) == 3 && strings.HasPrefix(private, "PRIVATE+KEY+"+parts[0]+"+"+parts[1]+"+") {
		return public, nil
	}
	s, err := newSigner(private)
	if err != nil {
		return "", fmt.Errorf("reading the log's key %s: %w", filepath.Join(k.dir, privateKeyFile), err)
	}
	return s.public, replace(k.disk, filepath.Join(k.dir, publicKeyFile), []byte(s.public+"\n"))
}

func (k keyring) public() (string, error) { return k.read(publicKeyFile) }

func (k keyring) signer() (*signer, error) {
	text, err := k.read(privateKeyFile)
	if err != nil {
		return nil, err
	}
	s, err := newSigner(text)
	if err != nil {
		return nil, fmt.Errorf("reading the log's key %s: %w", filepath.Join(k.dir, privateKeyFile), err)
	}
	return s, nil
}

// PublicKey returns the public key of the log whose keys are in keyDir, in the
// "name+hash+key" form of signed notes.
func PublicKey(keyDir string) (string, error) {
	return keyring{keyDir, realDisk{}}.public()
}
