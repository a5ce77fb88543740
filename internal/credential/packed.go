package credential

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

const (
	// maxUnpacked bounds what is looked at inside one compressed body: some
	// seconds of work.
	maxUnpacked = 256 << 20
	// maxHeld bounds what of such a body waits until its inside was seen.
	maxHeld = 1 << 20
	// maxPackedWindow is how far back compressed data may refer, which RFC 9659
	// lets no body exceed.
	maxPackedWindow = 8 << 20
)

// errUnread is wrapped where the inside of a body cannot be looked at.
var errUnread = errors.New("it cannot be looked at for placeholders")

// opener opens what is compressed. It and what it returns read not a byte
// more than they need.
type opener func(*intake) (io.Reader, error)

// openerOf returns how to look inside a body with this header; nil if it can
// be read as it is, or why it cannot be read.
func openerOf(h http.Header) (open opener, unread string) {
	for _, values := range h["Content-Encoding"] {
		for coding := range strings.SplitSeq(values, ",") {
			coding = strings.ToLower(strings.TrimSpace(coding))
			next, known := codings[coding]
			switch {
			case !known:
				return nil, fmt.Sprintf("it is compressed by %q", shorten(coding))
			case next != nil && open != nil:
				return nil, "it is compressed more than once"
			case next != nil:
				open = next
			}
		}
	}
	return open, ""
}

// codings are those that are looked into, and those that leave text legible
// (as the clients of some clouds say).
var codings = map[string]opener{
	"": nil, "identity": nil, "utf-8": nil, "aws-chunked": nil, "amz-1.0": nil,
	"gzip": openGzip, "x-gzip": openGzip, "deflate": openDeflate, "zstd": openZstd,
}

func openGzip(in *intake) (io.Reader, error) { return gzip.NewReader(in) }

// openDeflate takes it with and without the header of zlib: clients send both.
func openDeflate(in *intake) (io.Reader, error) {
	head, err := in.Peek(2)
	if err == nil && head[0]&15 == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(in)
	}
	return flate.NewReader(in), nil
}

func openZstd(in *intake) (io.Reader, error) {
	return zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxPackedWindow), zstd.WithDecoderMaxMemory(maxUnpacked))
}

// intake is a compressed body on its way to be opened. What was taken of it is
// kept.
type intake struct {
	*bufio.Reader
	taken []byte
	err   error // of the body, or errUnread
}

func (in *intake) full() error {
	if len(in.taken) > maxHeld {
		in.err = fmt.Errorf("%w: more than %d bytes of it hold nothing", errUnread, maxHeld)
	}
	return in.err
}

// Read implements io.Reader.
func (in *intake) Read(p []byte) (int, error) {
	if err := in.full(); err != nil {
		return 0, err
	}
	n, err := in.Reader.Read(p)
	in.taken = append(in.taken, p[:n]...)
	return n, in.failed(err)
}

// ReadByte implements io.ByteReader: compress/flate then reads nothing ahead.
func (in *intake) ReadByte() (byte, error) {
	if err := in.full(); err != nil {
		return 0, err
	}
	b, err := in.Reader.ReadByte()
	if err == nil {
		in.taken = append(in.taken, b)
	}
	return b, in.failed(err)
}

func (in *intake) failed(err error) error {
	if err != nil && err != io.EOF {
		in.err = err
	}
	return err
}

// packed hands on a compressed body as it is, each part after look has seen
// what is inside. unread says what becomes of one that cannot be looked at.
type packed struct {
	io.Closer
	in     *intake
	open   opener
	texts  *texts
	look   func([]byte) error
	unread func(error) error

	plain io.Reader // nil: not opened yet
	buf   []byte    // what is inside; only what a placeholder may begin with stays
	kept  int       // bytes of buf that stayed
	most  int64     // of what may be inside
	ready int       // bytes of in.taken that may be handed on
	err   error     // told when those are
}

// Read implements io.Reader.
func (b *packed) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for b.ready == 0 {
		if b.err != nil {
			return 0, b.err
		}
		if b.err = b.step(); b.err != nil && b.err != io.EOF {
			b.in.taken, b.ready = nil, 0
		}
	}
	n := copy(p, b.in.taken[:b.ready])
	b.ready -= n
	b.in.taken = slices.Delete(b.in.taken, 0, n)
	return n, nil
}

// step looks at the next piece of what is inside.
func (b *packed) step() error {
	if b.plain == nil {
		if _, err := b.in.Peek(1); err != nil {
			return err // nothing inside, or nothing to be had
		}
		var err error
		if b.plain, err = b.open(b.in); err != nil {
			return b.broken(err)
		}
		b.buf = make([]byte, 2*streamChunk)
	}
	n, err := b.plain.Read(b.buf[b.kept:])
	drained := b.kept+n < len(b.buf) // all that was taken has been seen
	if b.most -= int64(n); b.most < 0 {
		return b.unread(fmt.Errorf("%w: too much is inside", errUnread))
	}
	seen := b.buf[:b.kept+n]
	if found := b.look(seen); found != nil {
		return found
	}
	b.kept = copy(b.buf, seen[len(seen)-b.texts.begun(seen):])
	switch {
	case err == io.EOF:
		return b.end()
	case err != nil:
		return b.broken(err)
	case drained && b.kept == 0:
		b.ready = len(b.in.taken)
	}
	return nil
}

// end is reached where what is compressed ends: nothing may follow.
func (b *packed) end() error {
	if _, err := b.in.Peek(1); err == nil {
		return b.unread(fmt.Errorf("%w: it goes on after its end", errUnread))
	} else if err != io.EOF {
		return err
	}
	b.ready = len(b.in.taken)
	return io.EOF
}

// broken tells a body that breaks off from one that is not what it says.
func (b *packed) broken(err error) error {
	if b.in.err != nil && !errors.Is(b.in.err, errUnread) {
		return b.in.err
	}
	return b.unread(fmt.Errorf("%w: %w", errUnread, err))
}

// Close ends the body and what looks inside it.
func (b *packed) Close() error {
	if z, ok := b.plain.(*zstd.Decoder); ok {
		z.Close()
	}
	return b.Closer.Close()
}
