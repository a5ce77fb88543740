package verify

import (
	"errors"
	"fmt"
	"io"
	"os"
)

func openFile(path string) (*os.File, error) { return os.OpenFile(path, os.O_RDONLY|openFlags, 0) }

// errReplaced says that a name stood for one file and then for another.
var errReplaced = errors.New("was replaced while it was opened")

// openTries bounds how often a file is opened again that whoever writes to the
// log replaces at that moment.
const openTries = 10

// openRegular opens a file for reading if it is a regular one, and not a link
// to one: a pipe would block and a link lead elsewhere.
func openRegular(path string) (f *os.File, err error) {
	for range openTries {
		if f, err = tryRegular(path); !errors.Is(err, errReplaced) {
			break
		}
	}
	return f, err
}

func tryRegular(path string) (*os.File, error) {
	before, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	if after, err := f.Stat(); err != nil || !os.SameFile(before, after) {
		f.Close()
		return nil, fmt.Errorf("%s %w", path, errReplaced)
	}
	return f, nil
}

// readRegular reads a regular file of at most limit bytes.
func readRegular(path string, limit int64) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("it is over the limit of %d bytes", limit)
	}
	return b, err
}
