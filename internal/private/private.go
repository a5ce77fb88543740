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
	if err := CheckFile(f); err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(raw)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return raw, err
}

// CheckFile says why a file is not a regular one that only this user can
// reach. The error begins with a verb.
func CheckFile(f *os.File) error { return check(f, 0, onlyMine) }

// CheckDir says why a directory is not one that only this user can reach. The
// error begins with a verb.
func CheckDir(dir string) error {
	return withDir(dir, onlyMine)
}

// CloseDir leaves a directory to this user, and refuses one that somebody else
// owns. The error begins with a verb.
func CloseDir(dir string) error {
	return withDir(dir, func(d *os.File) error { return closeDir(dir, d) })
}

// CheckWriters says why a file is not a regular one that only this user and
// administrators can have written; others may read it, and for an
// administrator it may be anybody's. The error begins with a verb.
func CheckWriters(f *os.File) error { return check(f, 0, writtenByTrusted) }

func withDir(dir string, do func(*os.File) error) error {
	d, err := openFile(dir)
	if err != nil {
		return fmt.Errorf("cannot be opened: %w", err)
	}
	defer d.Close()
	return check(d, fs.ModeDir, do)
}

func check(f *os.File, kind fs.FileMode, who func(*os.File) error) error {
	info, err := f.Stat()
	switch {
	case err != nil:
		return fmt.Errorf("cannot be looked at: %w", err)
	case info.Mode().Type() != kind && kind == fs.ModeDir:
		return errors.New("is not a directory")
	case info.Mode().Type() != kind:
		return errors.New("is not a regular file")
	}
	return who(f)
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
		err = rename(f.Name(), path)
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

// Locked runs f while no other process is in a Locked of dir, which it makes
// if need be. The lock ends with the process that holds it.
func Locked(dir string, f func() error) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	d, err := openLock(dir)
	if err != nil {
		return err
	}
	defer d.Close() // and with it the lock
	if err := lock(d); err != nil {
		return &fs.PathError{Op: "lock", Path: dir, Err: err}
	}
	return f()
}
