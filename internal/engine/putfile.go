package engine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// putFile writes a file for others, whole or not at all. What is no file, such
// as a pipe, is written to.
func putFile(path string, content []byte, mode fs.FileMode) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(path, content, mode)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".carrel-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once renamed
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
