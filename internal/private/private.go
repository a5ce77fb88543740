// Package private owns how Carrel keeps the small files of one user's state:
// they are read only if nobody else could have written them, replaced in one
// step, and edited by one process at a time.
//
// It is trusted with telling this user's files from those that somebody else
// put in their place, and with leaving the old content or the new after a
// power cut, never half of one.
package private

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Read returns a file that only this user can have written, of at most limit
// bytes. It follows no link in the last step.
func Read(path string, limit int64) ([]byte, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := Check(info, 0); err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(raw)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return raw, err
}

// Check says why a file (kind 0) or a directory (fs.ModeDir) is not one that
// only this user can reach. The error begins with a verb.
func Check(info fs.FileInfo, kind fs.FileMode) error {
	mode := map[bool]fs.FileMode{true: 0o700, false: 0o600}[kind == fs.ModeDir]
	uid, links, err := ownerOf(info)
	switch {
	case err != nil:
		return err
	case info.Mode().Type() != kind && kind == fs.ModeDir:
		return errors.New("is not a directory")
	case info.Mode().Type() != kind:
		return errors.New("is not a regular file")
	case uid != os.Geteuid():
		return fmt.Errorf("belongs to user %d, not to you (%d)", uid, os.Geteuid())
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("has mode %04o; others must not reach it (chmod %04o)", info.Mode().Perm(), mode)
	case kind == 0 && links != 1:
		return errors.New("has a second name (hard link)")
	}
	return nil
}

// Owner returns whose a file is. Where that cannot be told it fails.
func Owner(info fs.FileInfo) (uid int, err error) {
	uid, _, err = ownerOf(info)
	return uid, err
}

// Replace puts content at path, with mode 0600. A reader, and whoever looks
// after a power cut, finds the old content or the new; once Replace returned
// nil, the new. The directory is made if need be.
func Replace(path string, content []byte) error {
	dir := filepath.Dir(path)
	if err := MakeDir(dir); err != nil {
		return err
	}
	if err := swapIn(path, content, true); err != nil {
		return err
	}
	return SyncDir(dir)
}

// ReplaceSoon is Replace for what may be lost in a power cut: it does not wait
// for the disk. The directory must be there.
func ReplaceSoon(path string, content []byte) error { return swapIn(path, content, false) }

func swapIn(path string, content []byte, durable bool) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".carrel-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// MakeDir makes a directory, and those above it, that a power cut does not
// take away again.
func MakeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := MakeDir(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return err
	}
	return SyncDir(filepath.Dir(dir))
}

// SyncDir makes durable which names a directory holds.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Locked runs f while no other process is in a Locked of dir, which it makes
// if need be. The lock ends with the process that holds it.
func Locked(dir string, f func() error) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() // and with it the lock
	if err := lock(d); err != nil {
		return &fs.PathError{Op: "lock", Path: dir, Err: err}
	}
	return f()
}
