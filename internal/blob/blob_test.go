package blob

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/carrel-dev/carrel"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func file(t *testing.T, content []byte) *os.File {
	t.Helper()
	p := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(p, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

var contents = map[string][]byte{
	"empty": {},
	"small": []byte("hello\n"),
	"edge":  bytes.Repeat([]byte("x"), maxPacked),
	"large": bytes.Repeat([]byte("0123456789"), 100_000),
}

func TestWhatWasPutComesBack(t *testing.T) {
	s := open(t)
	batch, err := s.Batch()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range contents {
		head := make([]byte, 10)
		d, n, filled, err := batch.PutFile(file(t, content), head)
		if err != nil || !d.Equal(carrel.DigestBytes(content)) || n != int64(len(content)) {
			t.Fatalf("%s: %s, %d bytes, %v", name, d, n, err)
		}
		if want := content[:min(10, len(content))]; !bytes.Equal(head[:filled], want) {
			t.Errorf("%s: head %q, want %q", name, head[:filled], want)
		}
		if s.Has(d) {
			t.Errorf("%s is visible before the batch was committed", name)
		}
	}
	if err := batch.Commit(); err != nil {
		t.Fatal(err)
	}
	other, err := Open(s.dir) // another process
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range contents {
		checkContent(t, other, name, content)
	}
}

func checkContent(t *testing.T, s *Store, name string, content []byte) {
	t.Helper()
	d := carrel.DigestBytes(content)
	if got, err := s.Read(d, 1<<20); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s: read %d bytes, %v", name, len(got), err)
	}
	if len(content) > 0 {
		if _, err := s.Read(d, int64(len(content))-1); err == nil {
			t.Errorf("%s: read beyond the limit", name)
		}
	}
	if n, err := s.Size(d); err != nil || n != int64(len(content)) {
		t.Errorf("%s: size %d, %v", name, n, err)
	}
	dst, err := os.Create(filepath.Join(t.TempDir(), "dst"))
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if n, err := s.CopyTo(dst, d); err != nil || n != int64(len(content)) {
		t.Errorf("%s: copied %d, %v", name, n, err)
	}
	if got, err := os.ReadFile(dst.Name()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s: the copy differs (%v)", name, err)
	}
}

func TestDamagedContentIsNotReturned(t *testing.T) {
	for name, content := range contents {
		if len(content) == 0 {
			continue
		}
		s := open(t)
		d := put(t, s, content)
		err := filepath.Walk(s.dir, func(p string, info os.FileInfo, err error) error {
			if err != nil || info.IsDir() || filepath.Ext(p) == ".index" {
				return err
			}
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			b[len(b)/2] ^= 1
			return os.WriteFile(p, b, 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(d, 1<<20); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: Read of damaged content: %v", name, err)
		}
		dst, err := os.Create(filepath.Join(t.TempDir(), "dst"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.CopyTo(dst, d); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: CopyTo of damaged content: %v", name, err)
		}
		dst.Close()
	}
}

func put(t *testing.T, s *Store, content []byte) carrel.Digest {
	t.Helper()
	batch, err := s.Batch()
	if err != nil {
		t.Fatal(err)
	}
	d, err := batch.PutBytes(content)
	if err == nil {
		err = batch.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDamagedIndexHidesItsPack(t *testing.T) {
	s := open(t)
	d := put(t, s, []byte("content"))
	names, _ := filepath.Glob(filepath.Join(s.packs(), "*.index"))
	if len(names) != 1 {
		t.Fatalf("indexes: %v", names)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	b[40] ^= 1
	if err := os.WriteFile(names[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Read(d, 100); !errors.Is(err, ErrNotFound) {
		t.Errorf("read through a damaged index: %v", err)
	}
}

func TestRemoveKeepsWhatIsNeeded(t *testing.T) {
	s := open(t)
	kept, dropped := put(t, s, []byte("kept")), put(t, s, []byte("dropped"))
	large := put(t, s, contents["large"])
	n, _, err := s.Remove(func(d carrel.Digest) bool { return d == kept })
	if err != nil || n != 2 {
		t.Fatalf("removed %d: %v", n, err)
	}
	if !s.Has(kept) || s.Has(dropped) || s.Has(large) {
		t.Error("the wrong contents were removed")
	}
}

func TestHolesStayHoles(t *testing.T) {
	p := filepath.Join(t.TempDir(), "sparse")
	f, err := os.Create(p)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 64 << 20
	if _, err := f.WriteAt([]byte("data"), 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	s := open(t)
	batch, err := s.Batch()
	if err != nil {
		t.Fatal(err)
	}
	d, n, _, err := batch.PutFile(f, nil)
	if err != nil || n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if err := batch.Commit(); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, size)
	copy(want[1<<20:], "data")
	if !d.Equal(carrel.DigestBytes(want)) {
		t.Error("the digest is not of the bytes with zeros for holes")
	}
	c, err := s.open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer c.file.Close()
	if used := blocks(t, c.file); used > 1<<20 {
		t.Errorf("the stored file uses %d bytes on disk", used)
	}
}

func ExampleStore() {
	dir, _ := os.MkdirTemp("", "blobs")
	defer os.RemoveAll(dir)
	s, _ := Open(dir)
	batch, _ := s.Batch()
	d, _ := batch.PutBytes([]byte("hello"))
	_ = batch.Commit()
	b, _ := s.Read(d, 100)
	fmt.Println(d.Short(), string(b))
	// Output: 2cf24dba5fb0 hello
}
