package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel"
)

func TestTilePath(t *testing.T) {
	for want, got := range map[string]string{
		"tile/0/000":                    TilePath(0, 0, TileWidth),
		"tile/0/x001/x234/067":          TilePath(0, 1234067, TileWidth),
		"tile/3/x001/000.p/17":          TilePath(3, 1000, 17),
		"tile/entries/x001/x234/067":    TilePath(-1, 1234067, TileWidth),
		"tile/entries/999.p/255":        TilePath(-1, 999, 255),
		"tile/63/x999/x999/x999/999":    TilePath(63, 999999999999, TileWidth),
		"tile/entries/x010/001.p/1":     TilePath(-1, 10001, 1),
		"tile/1/x100/000":               TilePath(1, 100000, TileWidth),
		"tile/2/x001/x000/x000/000.p/2": TilePath(2, 1000000000, 2),
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestEntriesAreStrict(t *testing.T) {
	bundle := AppendEntry(AppendEntry(nil, []byte("one")), nil)
	got, err := Entries(bundle, 2)
	if err != nil || string(got[0]) != "one" || len(got[1]) != 0 {
		t.Errorf("%q, %v", got, err)
	}
	for name, c := range map[string]struct {
		bundle []byte
		width  int
	}{
		"one fewer":      {bundle, 1},
		"one more":       {bundle, 3},
		"no width":       {nil, 0},
		"too wide":       {bytes.Repeat([]byte{0, 0}, 257), 257},
		"half a length":  {append(bytes.Clone(bundle), 0), 3},
		"a short entry":  {[]byte{0, 5, 'a'}, 1},
		"too long":       {append([]byte{0xff, 0xff}, make([]byte, 0xffff)...), 1},
		"something more": {append(bytes.Clone(bundle), 'x'), 2},
	} {
		if out, err := Entries(c.bundle, c.width); err == nil {
			t.Errorf("%s: %q", name, out)
		}
	}
	if _, err := Tile(make([]byte, 63), 2); err == nil {
		t.Error("a tile that is too short")
	}
}

// fixtureTiles publishes the signed records of the fixture.
func fixtureTiles(t testing.TB) fixture {
	t.Helper()
	files := fixtureFiles(t, fixtureRecords(t))
	lines := files.lines()
	lines = lines[:len(lines)-1]
	out := fixture{CheckpointFile: files[CheckpointFile]}
	var hashes, bundle []byte
	for _, line := range lines {
		h := tlog.RecordHash(line)
		hashes, bundle = append(hashes, h[:]...), AppendEntry(bundle, line)
	}
	out[TilePath(0, 0, len(lines))], out[TilePath(-1, 0, len(lines))] = hashes, bundle
	return out
}

func TestTilesOfTheVectors(t *testing.T) {
	files := fixtureTiles(t)
	_, key := fixtureKeys(t, fixtureOrigin)
	ctx := context.Background()
	dir := t.TempDir()
	if _, err := Tiles(ctx, dir, key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing published: %v", err)
	}
	files.write(t, dir)
	if c, err := Tiles(ctx, dir, key); err != nil || c.Size != 8 {
		t.Errorf("%+v, %v", c, err)
	}
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		for how, altered := range map[string][]byte{"altered": append(bytes.Clone(content[:len(content)-1]), content[len(content)-1]^1), "cut": content[:len(content)-1], "longer": append(bytes.Clone(content), 'x'), "empty": {}} {
			if err := os.WriteFile(path, altered, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Tiles(ctx, dir, key)
			var fault *Fault
			if !errors.As(err, &fault) || fault.File != name && name != TilePath(-1, 0, 8) {
				t.Errorf("%s %s: %v", name, how, err)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := Tiles(ctx, dir, key); err == nil {
			t.Errorf("%s missing, and right", name)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Tiles(done, dir, key); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// fixtureSuccession hands the fixture's log on to another key.
func fixtureSuccession(t testing.TB) (p Proof, old, fresh string) {
	t.Helper()
	signer, old := fixtureKeys(t, fixtureOrigin)
	next, fresh := seededKeys(t, fixtureOrigin, 8)
	records := fixtureRecords(t)
	last := &records[len(records)-1]
	last.Kind, last.Note = carrel.KindLog, carrel.Text(SuccessionNote(old, fresh))
	lines := fixtureFiles(t, records).lines()
	p = fixtureProof(t, lines, len(lines)-1)
	var tree Tree
	for _, line := range lines {
		tree.Append(tlog.RecordHash(line), nil)
	}
	signed, err := note.Sign(&note.Note{Text: Checkpoint{fixtureOrigin, tree.Size(), tree.Root()}.Text()}, signer, next)
	if err != nil {
		t.Fatal(err)
	}
	p.Extra, p.Checkpoint = lines[len(lines)-1], signed
	return p, old, fresh
}

func TestSuccession(t *testing.T) {
	p, old, fresh := fixtureSuccession(t)
	if got, err := Successor(p, old); err != nil || got != fresh {
		t.Fatalf("%s, %v", got, err)
	}
	if _, err := Successor(p, fresh); err == nil {
		t.Error("the new key hands the log to itself")
	}
	dir := t.TempDir()
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{old, fresh} {
		if got, err := CurrentKey(dir, key); err != nil || got != key {
			t.Errorf("no succession: %s, %v", got, err)
		}
		if got, err := EarlierKeys(dir, key); err != nil || len(got) != 0 {
			t.Errorf("no succession: %s, %v", got, err)
		}
	}
	write(SuccessionFile(1), p.Bytes())
	for _, key := range []string{old, fresh} {
		if got, err := CurrentKey(dir, key); err != nil || got != fresh {
			t.Errorf("handed on: %s, %v", got, err)
		}
	}
	if got, err := EarlierKeys(dir, fresh); err != nil || len(got) != 1 || got[0] != old {
		t.Errorf("before the new key: %s, %v", got, err)
	}
	if got, err := EarlierKeys(dir, old); err != nil || len(got) != 0 {
		t.Errorf("before the old key: %s, %v", got, err)
	}
	bad := p
	bad.Index--
	write(SuccessionFile(1), bad.Bytes())
	if got, err := CurrentKey(dir, old); err == nil {
		t.Errorf("a wrong proof leads to %s", got)
	}
	if got, err := EarlierKeys(dir, fresh); err != nil || len(got) != 0 {
		t.Errorf("a wrong proof leads back to %s, %v", got, err)
	}
	write(SuccessionFile(1), []byte("nonsense"))
	if got, err := CurrentKey(dir, old); err == nil {
		t.Errorf("nonsense leads to %s", got)
	}
	if _, err := CurrentKey(dir, "nonsense"); err == nil {
		t.Error("nonsense is a key")
	}
}

// The vectors of what is published and proved, for programs in any language.
func TestPublishedVectorsAreCurrent(t *testing.T) {
	want := fixture{}
	for name, b := range fixtureTiles(t) {
		want["tiles/"+name] = b
	}
	lines := fixtureFiles(t, fixtureRecords(t)).lines()
	for _, i := range []int{0, 2} {
		p := fixtureProof(t, lines, i)
		p.Extra = lines[i]
		want[fmt.Sprintf("proof/record-%d%s", i, ProofSuffix)] = p.Bytes()
	}
	p, old, fresh := fixtureSuccession(t)
	want["succession/"+SuccessionFile(1)] = p.Bytes()
	want["succession/old.vkey"], want["succession/new.vkey"] = []byte(old+"\n"), []byte(fresh+"\n")
	dir := filepath.Join("..", "spec", "vectors")
	if *update {
		want.write(t, dir)
	}
	for name, b := range want {
		got, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("spec/vectors/%s differs from what this release writes (%v)", name, err)
		}
	}
}

func FuzzTiles(f *testing.F) {
	files := fixtureTiles(f)
	f.Add(files[CheckpointFile], files[TilePath(0, 0, 8)], files[TilePath(-1, 0, 8)])
	f.Add(files[CheckpointFile], []byte{}, []byte{0, 1, 'x'})
	_, key := fixtureKeys(f, fixtureOrigin)
	f.Fuzz(func(t *testing.T, checkpoint, hashes, bundle []byte) {
		dir := t.TempDir()
		fixture{CheckpointFile: checkpoint, TilePath(0, 0, 8): hashes, TilePath(-1, 0, 8): bundle}.write(t, dir)
		c, err := Tiles(context.Background(), dir, key)
		if err == nil && (c.Size != 8 || !bytes.Equal(bundle, files[TilePath(-1, 0, 8)])) {
			t.Fatalf("%+v is right", c)
		}
		for width := range 10 {
			if out, err := Entries(bundle, width); err == nil && len(out) != width {
				t.Fatalf("%d entries of %d", len(out), width)
			}
		}
	})
}

func FuzzSuccession(f *testing.F) {
	p, old, fresh := fixtureSuccession(f)
	f.Add(p.Bytes())
	f.Add([]byte(strings.Replace(string(p.Bytes()), "index 8", "index 7", 1)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		q, err := ParseProof(raw)
		if err != nil {
			return
		}
		if got, err := Successor(q, old); err == nil && got != fresh {
			t.Fatalf("%q hands the log to %s", raw, got)
		}
	})
}
