package verify

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxWindow is how far back compressed data may refer, and so the memory that
// reading it takes.
const maxWindow = 8 << 20

// ReadArchive reads a pack from a .tar.zst stream: plain files in the order of
// their names, within the bounds of a pack, and nothing after them. The
// archive is never unpacked to a disk.
func ReadArchive(r io.Reader) (Pack, error) {
	z, err := zstd.NewReader(newOneFrame(r), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(2*maxWindow))
	if err != nil {
		return nil, fmt.Errorf("reading the archive: %w", err)
	}
	defer z.Close()
	// Every file takes a header and less than a block more than it holds.
	limited := &io.LimitedReader{R: z, N: MaxPackBytes + (MaxPackFiles+2)*2*512 + 10<<10}
	p, err := readTar(tar.NewReader(limited))
	if err != nil {
		return nil, err
	}
	// What follows the end of a tar archive is padding, and is read so that the
	// checksum of the compressed data counts.
	rest, err := io.Copy(io.Discard, &zeros{limited})
	if err != nil {
		return nil, fmt.Errorf("reading the archive: after its end: %w", err)
	}
	if limited.N == 0 || rest > 20<<10 {
		return nil, fmt.Errorf("the archive holds more than %d bytes", MaxPackBytes)
	}
	return p, nil
}

func readTar(t *tar.Reader) (Pack, error) {
	p, total, last := Pack{}, int64(0), ""
	for {
		h, err := t.Next()
		switch {
		case err == io.EOF && len(p) == 0:
			return nil, errors.New("the archive is empty, and no evidence pack")
		case err == io.EOF:
			return p, nil
		case err != nil:
			return nil, fmt.Errorf("reading the archive: %w", err)
		case h.Typeflag != tar.TypeReg || len(h.PAXRecords) > 0 || h.Linkname != "":
			return nil, &PackFault{File: clip(h.Name), Reason: "the archive holds something other than plain files"}
		case h.Size < 0 || h.Size > MaxPackBytes:
			return nil, &PackFault{File: clip(h.Name), Reason: "it is larger than a pack can be"}
		case h.Name <= last:
			return nil, &PackFault{File: clip(h.Name), Reason: "the files are not in the order of their names"}
		}
		if err := p.add(h.Name, t, &total); err != nil {
			return nil, err
		}
		last = h.Name
	}
}

// zeros reads r, which must hold nothing but zero bytes.
type zeros struct{ r io.Reader }

// Read implements io.Reader.
func (z *zeros) Read(b []byte) (int, error) {
	n, err := z.r.Read(b)
	for _, c := range b[:n] {
		if c != 0 {
			return n, errors.New("bytes that belong to no file")
		}
	}
	return n, err
}

// WriteArchive writes a pack as ReadArchive reads it. The same pack gives the
// same bytes.
func (p Pack) WriteArchive(w io.Writer) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(maxWindow/2))
	if err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	t := tar.NewWriter(z)
	for _, name := range p.names() {
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(p[name])), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("writing the archive: %w", err)
		}
		if _, err := t.Write(p[name]); err != nil {
			return fmt.Errorf("writing the archive: %w", err)
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	return nil
}
