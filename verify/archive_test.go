package verify

import (
	"archive/tar"
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

// packed compresses a tar archive of the given headers and contents.
func packed(t testing.TB, files ...any) []byte {
	t.Helper()
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	for i := 0; i < len(files); i += 2 {
		h, ok := files[i].(*tar.Header)
		if !ok {
			h = &tar.Header{Name: files[i].(string), Typeflag: tar.TypeReg, Mode: 0o644}
		}
		content := files[i+1].(string)
		h.Size = int64(len(content))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return compressed(t, raw.Bytes())
}

func compressed(t testing.TB, raw []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestArchiveRoundTrip(t *testing.T) {
	p, trust := fixturePack(t)
	var a, b bytes.Buffer
	if err := p.WriteArchive(&a); err != nil {
		t.Fatal(err)
	}
	if err := p.WriteArchive(&b); err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Errorf("the same pack gave two archives (%v)", err)
	}
	got, err := ReadArchive(&a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := got.Check(trust); err != nil {
		t.Error(err)
	}
}

// However the bytes come in, and however many blocks there are.
func TestArchiveOfManyBlocks(t *testing.T) {
	noise := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	p := Pack{"a": noise, "b": make([]byte, 5<<20), "c": []byte("text\n")}
	var packed bytes.Buffer
	if err := p.WriteArchive(&packed); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]io.Reader{"whole": bytes.NewReader(packed.Bytes()), "byte by byte": iotest.OneByteReader(bytes.NewReader(packed.Bytes())), "with its end": iotest.DataErrReader(bytes.NewReader(packed.Bytes()))} {
		got, err := ReadArchive(r)
		if err != nil || len(got) != 3 || !bytes.Equal(got["a"], p["a"]) || !bytes.Equal(got["b"], p["b"]) {
			t.Errorf("%s: %d files, %v", name, len(got), err)
		}
	}
	if _, err := ReadArchive(io.MultiReader(bytes.NewReader(packed.Bytes()), strings.NewReader("x"))); err == nil {
		t.Error("a byte that comes later belongs to nothing, and is read over")
	}
}

// What an archive could do to whoever unpacks it, this reader never comes to.
func TestHostileArchives(t *testing.T) {
	reg := func(name string) *tar.Header { return &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644} }
	link := func(kind byte) *tar.Header {
		return &tar.Header{Name: "a", Typeflag: kind, Linkname: "/etc/passwd", Mode: 0o644}
	}
	var many []any
	for i := range MaxPackFiles + 1 {
		many = append(many, "f"+strings.Repeat("a", i/40)+strings.Repeat("b", i%40), "")
	}
	const skipped = "\x50\x2a\x4d\x18\x04\x00\x00\x00junk"
	for name, raw := range map[string][]byte{
		"nothing":                nil,
		"no compression":         []byte("a.json"),
		"no files":               packed(t),
		"a parent":               packed(t, "../a", "x"),
		"a parent within":        packed(t, "policy/../../a", "x"),
		"an absolute name":       packed(t, "/etc/passwd", "x"),
		"a drive":                packed(t, "c:a", "x"),
		"a backslash":            packed(t, `policy\a`, "x"),
		"a hidden file":          packed(t, ".a", "x"),
		"a dot":                  packed(t, ".", "x"),
		"too deep":               packed(t, "a/b/c", "x"),
		"an empty part":          packed(t, "a//b", "x"),
		"a space":                packed(t, "a b", "x"),
		"an escape":              packed(t, "a\x1b[31m", "x"),
		"not ASCII":              packed(t, "ä", "x"),
		"a file twice":           packed(t, "a", "x", "a", "y"),
		"not in order":           packed(t, "b", "x", "a", "y"),
		"a symbolic link":        packed(t, link(tar.TypeSymlink), ""),
		"a hard link":            packed(t, link(tar.TypeLink), ""),
		"a directory":            packed(t, &tar.Header{Name: "policy/", Typeflag: tar.TypeDir, Mode: 0o755}, ""),
		"a device":               packed(t, &tar.Header{Name: "a", Typeflag: tar.TypeBlock, Devmajor: 8}, ""),
		"a FIFO":                 packed(t, &tar.Header{Name: "a", Typeflag: tar.TypeFifo}, ""),
		"extended headers":       packed(t, &tar.Header{Name: "a", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"CARREL.x": "y"}}, "x"),
		"a very long name":       packed(t, reg(strings.Repeat("a", 300)), "x"),
		"too many files":         packed(t, many...),
		"something after it":     compressed(t, append(untar(t, packed(t, "a", "x")), "more"...)),
		"another archive":        append(packed(t, "a", "x"), packed(t, "b", "x")...),
		"garbage after it":       append(packed(t, "a", "x"), "garbage"...),
		"a skipped frame after":  append(packed(t, "a", "x"), skipped...),
		"a skipped frame before": append([]byte(skipped), packed(t, "a", "x")...),
		"an empty frame after":   append(packed(t, "a", "x"), compressed(t, nil)...),
		"a size it has not":      compressed(t, oversized(t, 1<<40)),
		"a size below nothing":   compressed(t, oversized(t, -1)),
	} {
		if p, err := ReadArchive(bytes.NewReader(raw)); err == nil {
			t.Errorf("%s: read as %v", name, p.names())
		}
	}
}

func untar(t testing.TB, archive []byte) []byte {
	t.Helper()
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	raw, err := z.DecodeAll(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// oversized is an archive whose only header promises size bytes.
func oversized(t testing.TB, size int64) []byte {
	raw := untar(t, packed(t, "a", "x"))
	block := raw[:512]
	field := block[124:136]
	for i := range field {
		field[i] = 0
	}
	field[0] = 0x80
	for i := range 8 {
		field[11-i] = byte(size >> (8 * i))
	}
	if size < 0 {
		copy(field[:4], "\xff\xff\xff\xff")
	}
	sum := 8 * 32
	for i, b := range block {
		if i < 148 || i >= 156 {
			sum += int(b)
		}
	}
	copy(block[148:156], []byte{'0' + byte(sum>>15&7), '0' + byte(sum>>12&7), '0' + byte(sum>>9&7), '0' + byte(sum>>6&7), '0' + byte(sum>>3&7), '0' + byte(sum&7), 0, ' '})
	return raw
}

// A small archive that unpacks to far more than a pack holds is given up
// before it has filled the memory.
func TestArchiveBomb(t *testing.T) {
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	const size = MaxPackBytes + 1<<20
	if err := w.WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: MaxPackBytes}); err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 1<<20)
	for range MaxPackBytes >> 20 {
		if _, err := w.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteHeader(&tar.Header{Name: "b", Typeflag: tar.TypeReg, Size: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(chunk); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 1<<20 {
		t.Fatalf("the bomb of %d bytes is %d bytes long", size, out.Len())
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := ReadArchive(&out); err == nil {
		t.Error("an archive over the bound was read")
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 8*MaxPackBytes {
		t.Errorf("%d MiB were allocated", used>>20)
	}
}

func TestHostileDirectories(t *testing.T) {
	for name, make := range map[string]func(dir string) error{
		"nothing":            func(string) error { return nil },
		"a link":             func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "manifest.json")) },
		"another directory":  func(dir string) error { return os.MkdirAll(filepath.Join(dir, "other", "deep"), 0o755) },
		"a directory deep":   func(dir string) error { return os.MkdirAll(filepath.Join(dir, "policy", "deep"), 0o755) },
		"a hidden file":      func(dir string) error { return os.WriteFile(filepath.Join(dir, ".a"), nil, 0o644) },
		"a name with spaces": func(dir string) error { return os.WriteFile(filepath.Join(dir, "a b"), nil, 0o644) },
	} {
		dir := t.TempDir()
		if err := make(dir); err != nil {
			t.Fatal(err)
		}
		if p, err := OpenPack(dir); err == nil {
			t.Errorf("%s: read as %v", name, p.names())
		}
	}
}

func FuzzArchive(f *testing.F) {
	p, _ := fixturePack(f)
	var whole bytes.Buffer
	if err := p.WriteArchive(&whole); err != nil {
		f.Fatal(err)
	}
	f.Add(whole.Bytes())
	f.Add(packed(f, "a", "x"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := ReadArchive(bytes.NewReader(raw))
		if err != nil {
			return
		}
		for name := range got {
			if !packName().MatchString(name) {
				t.Fatalf("a file is called %q", name)
			}
		}
	})
}

// FuzzPack replaces one file of a pack that verifies.
func FuzzPack(f *testing.F) {
	p, trust := fixturePack(f)
	for i, name := range p.names() {
		f.Add(byte(i), p[name])
	}
	f.Fuzz(func(t *testing.T, which byte, content []byte) {
		names := p.names()
		name := names[int(which)%len(names)]
		altered := p.clone()
		altered[name] = content
		if r, err := altered.Check(trust); err == nil && !bytes.Equal(content, p[name]) {
			t.Fatalf("%s was replaced, and the pack verifies: %+v", name, r)
		}
		// Also what lies behind the list of files must bear anything.
		resealed := altered
		s := &story{journal: journal{t: t}}
		private, _ := signingKey(t, 1)
		if !own(name) {
			s.seal(resealed, private)
			_, _ = resealed.Check(Trust{})
		}
	})
}
