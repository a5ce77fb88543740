package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// file is what the log needs of an open file.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
	sync() error // data and size, not the times
	// reserve finds blocks for what is going to be written, without making the
	// file longer. It may fail where it is not supported, or without room.
	reserve(offset, length int64) error
}

// disk is what the log needs of a file system; tests put faults in between.
type disk interface {
	// open opens a regular file of ours, made with mode 0600 if flag says so.
	open(path string, flag int) (file, error)
	rename(from, to string) error
	remove(path string) error
	syncDir(path string) error
}

type realDisk struct{}

type realFile struct{ *os.File }

func (f realFile) sync() error { return syncData(f.File) }

func (f realFile) reserve(offset, length int64) error { return preallocate(f.File, offset, length) }

// open never follows a link in the last step, never blocks on a pipe, and
// refuses what somebody else could have put there or can read.
func (realDisk) open(path string, flag int) (file, error) {
	f, err := os.OpenFile(path, flag|openFlags, 0o600)
	if err != nil {
		if errors.Is(err, syscall.ELOOP) {
			err = errors.New("it is a symbolic link")
		}
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err == nil {
		err = checkOwner(f, info)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("refusing %s: %w", path, err)
	}
	return realFile{f}, nil
}

// maxSmall bounds what is read whole: checkpoints, tiles, proofs.
const maxSmall = 1 << 20

// readSmall reads a small file of ours, opened as open does.
func readSmall(path string) ([]byte, error) {
	f, err := realDisk{}.open(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxSmall+1))
	if err == nil && len(b) > maxSmall {
		err = fmt.Errorf("%s is over the limit of %d bytes", path, maxSmall)
	}
	return b, err
}

func (realDisk) rename(from, to string) error { return os.Rename(from, to) }

func (realDisk) remove(path string) error { return os.Remove(path) }

// privateDir makes sure that dir is a directory only we can enter.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("looking at %s: %w", dir, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("refusing %s: it is not a directory", dir)
	}
	if err := checkDirOwner(dir, info); err != nil {
		return fmt.Errorf("refusing %s: %w", dir, err)
	}
	return nil
}

// writeAll writes b at off, whatever the file makes of one call.
func writeAll(f file, b []byte, off int64) error {
	for len(b) > 0 {
		n, err := f.WriteAt(b, off)
		if n < 0 || n > len(b) {
			return fmt.Errorf("a write of %d bytes answered %d", len(b), n)
		}
		b, off = b[n:], off+int64(n)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil && len(b) > 0:
			return err
		case n == 0 && len(b) > 0:
			return io.ErrShortWrite
		}
	}
	return nil
}

// replace puts content at path so that a reader, and whoever comes after a
// power cut, finds the old content or the new, whole.
func replace(d disk, path string, content []byte) error {
	if err := swapIn(d, path, content, true); err != nil {
		return err
	}
	if err := d.syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// swapIn is replace for what may be the old content again after a power cut,
// and, if not durable, empty: it waits for the disk once, or not at all.
func swapIn(d disk, path string, content []byte, durable bool) error {
	tmp := path + ".tmp"
	f, err := d.open(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	err = writeAll(f, content, 0)
	if err == nil && durable {
		err = f.sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
