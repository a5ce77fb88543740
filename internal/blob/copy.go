package blob

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/carrel-dev/carrel"
	"golang.org/x/sys/unix"
)

// CopyContent copies a regular file to the empty file dst, sharing blocks
// where the file system can and keeping holes.
func CopyContent(dst, src *os.File) error {
	if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
		return nil
	}
	_, err := hashSparse(io.Discard, src, dst)
	return err
}

// copyContent copies as CopyContent does and adds all of it, holes as zeros,
// to h. After sharing blocks the bytes that are hashed are read back from dst,
// so that a writer of src cannot make them differ.
func copyContent(dst, src *os.File, h io.Writer) (int64, error) {
	if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
		return hashSparse(h, dst, nil)
	}
	return hashSparse(h, src, dst)
}

// Hash returns the digest and length of a regular file's content.
func Hash(f *os.File) (carrel.Digest, int64, error) {
	h := sha256.New()
	n, err := hashSparse(h, f, nil)
	if err != nil {
		return "", 0, fmt.Errorf("hashing: %w", err)
	}
	return carrel.DigestHash(h), n, nil
}

const chunk = 128 << 10

var zeros [chunk]byte

// hashSparse hashes src and, unless out is nil, writes its data to the same
// offsets of out and gives out the same length.
func hashSparse(h io.Writer, src, out *os.File) (int64, error) {
	info, err := src.Stat()
	if err != nil {
		return 0, err
	}
	size, at := info.Size(), int64(0)
	buf := make([]byte, min(chunk, size+1))
	for at < size {
		start, end, err := nextData(src, at, size)
		if err != nil {
			return 0, err
		}
		if err := hashZeros(h, start-at); err != nil {
			return 0, err
		}
		if at, err = copyRange(h, src, out, buf, start, end); err != nil {
			return 0, err
		}
		if at < end { // src was cut meanwhile
			size = at
		}
	}
	if out != nil {
		if err := out.Truncate(size); err != nil {
			return 0, err
		}
	}
	return size, nil
}

// nextData returns the next stretch of data at or after at; both are size when
// only a hole is left.
func nextData(f *os.File, at, size int64) (start, end int64, err error) {
	start, err = unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case errors.Is(err, unix.EINVAL): // the file system knows no holes
		return at, size, nil
	case err != nil:
		return 0, 0, fmt.Errorf("looking for data: %w", err)
	}
	end, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
	if err != nil {
		end = size
	}
	return min(start, size), min(end, size), nil
}

func hashZeros(h io.Writer, n int64) error {
	for n > 0 {
		part := min(n, chunk)
		if _, err := h.Write(zeros[:part]); err != nil {
			return err
		}
		n -= part
	}
	return nil
}

func copyRange(h io.Writer, src, out *os.File, buf []byte, at, end int64) (int64, error) {
	for at < end {
		n, err := src.ReadAt(buf[:min(int64(len(buf)), end-at)], at)
		if n > 0 {
			if _, err := h.Write(buf[:n]); err != nil {
				return at, err
			}
			if out != nil {
				if _, err := out.WriteAt(buf[:n], at); err != nil {
					return at, err
				}
			}
			at += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return at, nil
		}
		if err != nil {
			return at, err
		}
	}
	return at, nil
}
