package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel/verify"
)

// grow makes the log have size records and a checkpoint.
func grow(t testing.TB, o Options, size int64) verify.Checkpoint {
	t.Helper()
	ctx := context.Background()
	l := mustOpen(t, o)
	has, _ := l.Head()
	for i := has; i < size; i++ {
		if err := l.Enqueue(ctx, observe(fmt.Sprint("record ", i))); err != nil {
			t.Fatal(err)
		}
	}
	signed, err := l.Checkpoint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := verify.OpenCheckpoint(signed, publicKey(t, o))
	if err != nil || c.Size != size {
		t.Fatalf("checkpoint of %d records, %v; want %d", c.Size, err, size)
	}
	return c
}

func publicKey(t testing.TB, o Options) string {
	t.Helper()
	key, err := PublicKey(o.KeyDir)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// get fetches a path of a log over HTTP.
func get(t testing.TB, base, path string) ([]byte, int) {
	t.Helper()
	resp, err := http.Get(base + "/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body, resp.StatusCode
}

// sumdbTiles lets x/mod's client read C2SP tiles: it knows them under the
// paths of the Go checksum database.
type sumdbTiles struct {
	t    testing.TB
	base string
}

func (s sumdbTiles) Height() int                                { return verify.TileHeight }
func (s sumdbTiles) SaveTiles(tiles []tlog.Tile, data [][]byte) {}

func (s sumdbTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, tile := range tiles {
		body, status := get(s.t, s.base, "tile/"+strings.TrimPrefix(tile.Path(), "tile/8/"))
		if status != http.StatusOK {
			return nil, fmt.Errorf("%s: %d", tile.Path(), status)
		}
		out[i] = body
	}
	return out, nil
}

// A client of golang.org/x/mod/sumdb reads the tiles over HTTP, checks the tree
// against the checkpoint and finds every record in it, at every size at which
// tiles begin, fill up or appear on a new level.
func TestTilesServeAnotherClient(t *testing.T) {
	o := quickOptions(t)
	sizes := []int64{1, 2, 255, 256, 257, 511, 512, 700, 65535, 65536, 65537, 66000}
	if raced {
		sizes = sizes[:8]
	}
	var before verify.Checkpoint
	for _, size := range sizes {
		grow(t, o, size)
		server := httptest.NewServer(Handler(o.Dir, publicKey(t, o)))
		signed, status := get(t, server.URL, "checkpoint")
		c, err := verify.OpenCheckpoint(signed, publicKey(t, o))
		if status != http.StatusOK || err != nil {
			t.Fatal(status, err)
		}
		tree := tlog.Tree{N: c.Size, Hash: c.Root}
		reader := tlog.TileHashReader(tree, sumdbTiles{t, server.URL})
		if before.Size > 0 {
			proof, err := tlog.ProveTree(c.Size, before.Size, reader)
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckTree(proof, c.Size, c.Root, before.Size, before.Root); err != nil {
				t.Errorf("size %d does not contain size %d: %v", c.Size, before.Size, err)
			}
		}
		before = c
		for _, n := range []int64{0, size / 2, size - 1} {
			checkEntry(t, server.URL, o, c, reader, n)
		}
		server.Close()
	}
}

func checkEntry(t *testing.T, base string, o Options, c verify.Checkpoint, reader tlog.HashReader, n int64) {
	t.Helper()
	width := int(min(verify.TileWidth, c.Size-n/verify.TileWidth*verify.TileWidth))
	bundle, status := get(t, base, verify.TilePath(-1, n/verify.TileWidth, width))
	entries, err := verify.Entries(bundle, width)
	if status != http.StatusOK || err != nil {
		t.Fatalf("record %d of %d: %d, %v", n, c.Size, status, err)
	}
	record := entries[n%verify.TileWidth]
	proof, err := tlog.ProveRecord(c.Size, n, reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := tlog.CheckRecord(proof, c.Size, c.Root, n, tlog.RecordHash(record)); err != nil {
		t.Errorf("record %d of %d: %v", n, c.Size, err)
	}
	signed, err := os.ReadFile(filepath.Join(o.Dir, verify.CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	own, err := OpenReader(o.Dir).Prove(n, signed, publicKey(t, o))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := own.Check(record, publicKey(t, o)); err != nil {
		t.Errorf("record %d of %d, own proof: %v", n, c.Size, err)
	}
}

// However the published files were left, publishing makes them right again.
func TestTilesAreMadeAgain(t *testing.T) {
	o := quickOptions(t)
	grow(t, o, 600)
	key := publicKey(t, o)
	if _, err := PublishTiles(context.Background(), o.Dir, key); err != nil {
		t.Fatal(err)
	}
	want := published(t, o)
	for name := range want {
		for how, content := range map[string][]byte{"emptied": {}, "damaged": []byte("x"), "removed": nil} {
			path := filepath.Join(o.Dir, TilesDir, name)
			if content == nil {
				os.Remove(path)
			} else if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			os.Remove(filepath.Join(o.Dir, TilesDir, verify.CheckpointFile))
			if _, err := PublishTiles(context.Background(), o.Dir, key); err != nil {
				t.Errorf("%s %s: %v", name, how, err)
			}
			if got := published(t, o); !equalFiles(got, want) {
				t.Fatalf("%s %s: it is not made again", name, how)
			}
		}
	}
	// Going on from tiles that were altered ends at the root, and begins anew.
	if err := os.WriteFile(filepath.Join(o.Dir, TilesDir, "tile/1/000.p/2"), make([]byte, 64), 0o600); err != nil {
		t.Fatal(err)
	}
	grow(t, o, 1100)
	if _, err := PublishTiles(context.Background(), o.Dir, key); err != nil {
		t.Fatal(err)
	}
	fresh := published(t, o)
	os.RemoveAll(filepath.Join(o.Dir, TilesDir))
	if _, err := PublishTiles(context.Background(), o.Dir, key); err != nil {
		t.Fatal(err)
	}
	if !equalFiles(published(t, o), fresh) {
		t.Error("tiles that were gone on from are not those made at once")
	}
}

// A full tile or bundle stands for the partial one that a checkpoint of before
// names: whoever reads it while more is published, or publishing died, finds it.
func TestFullTilesStandForPartialOnes(t *testing.T) {
	o, ctx := quickOptions(t), context.Background()
	key, to := "", filepath.Join(o.Dir, TilesDir)
	publish := func(records int64) []byte {
		grow(t, o, records)
		key = publicKey(t, o)
		if _, err := PublishTiles(ctx, o.Dir, key); err != nil {
			t.Fatal(err)
		}
		signed, err := os.ReadFile(filepath.Join(to, verify.CheckpointFile))
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	before := publish(300)
	publish(600)
	if err := os.WriteFile(filepath.Join(to, verify.CheckpointFile), before, 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := verify.Tiles(ctx, to, key); err != nil || c.Size != 300 {
		t.Errorf("%+v, %v", c, err)
	}
	for _, name := range []string{verify.TilePath(-1, 1, verify.TileWidth), verify.TilePath(0, 1, verify.TileWidth)} {
		path := filepath.Join(to, filepath.FromSlash(name))
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for how, content := range map[string][]byte{"altered": append([]byte{whole[0], whole[1], whole[2] ^ 1}, whole[3:]...), "cut": whole[:len(whole)-1]} {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := verify.Tiles(ctx, to, key); err == nil {
				t.Errorf("%s %s: not found", name, how)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A log whose segments were altered is not published.
func TestAlteredLogIsNotPublished(t *testing.T) {
	o := quickOptions(t)
	grow(t, o, 10)
	path := filepath.Join(o.Dir, verify.SegmentName(0))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(b, []byte("record 5"), []byte("record 4"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := PublishTiles(context.Background(), o.Dir, publicKey(t, o)); !errors.Is(err, errTiles) {
		t.Errorf("%v, want that the tiles do not lead to the root", err)
	}
	server := httptest.NewServer(Handler(o.Dir, publicKey(t, o)))
	defer server.Close()
	if _, status := get(t, server.URL, "checkpoint"); status != http.StatusInternalServerError {
		t.Errorf("its checkpoint is served with %d", status)
	}
}

func published(t *testing.T, o Options) snapshot {
	t.Helper()
	root := filepath.Join(o.Dir, TilesDir)
	s := snapshot{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(root, path)
			s[name], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func equalFiles(a, b snapshot) bool {
	if len(a) != len(b) {
		return false
	}
	for name, content := range a {
		if other, ok := b[name]; !ok || !bytes.Equal(content, other) {
			return false
		}
	}
	return true
}

// The server gives out tiles and the checkpoint, and nothing else of the
// log's directory or beyond it.
func TestServerServesNothingElse(t *testing.T) {
	o := quickOptions(t)
	grow(t, o, 300)
	h := Handler(o.Dir, publicKey(t, o))
	if _, err := PublishTiles(context.Background(), o.Dir, publicKey(t, o)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, TilesDir, "tile", "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func(method, path string) *httptest.ResponseRecorder {
		req := httptest.NewRequest(method, "/", nil)
		req.URL.Path = path
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		return w
	}
	for _, path := range []string{"/", "/tile", "/tile/", "/tile/0", "/tile/0/", "/tile/secret", "/tail", "/../log/tail", "/tile/../../tail", "/tile/0/../../../tail",
		"/tile/0/000/", "/tile/00/000", "/tile/0/0", "/tile/0/x000/000", "/tile/8/0/000", "/tile/entries/000.p/0", "/tile/entries/000.p/256", "/tile/entries/001.p/044",
		"/tile/-1/000", "/tile/0/x001", "/tile/0/000.p", "//tile/0/000", "/hashes", "/lock", "/" + verify.SegmentName(0), "/tile/entries/000\x00", "/tile/9/000"} {
		if w := ask("GET", path); w.Code == http.StatusOK {
			t.Errorf("%s is served", path)
		}
	}
	for _, path := range []string{"/checkpoint", "/tile/0/000", "/tile/0/001.p/44", "/tile/1/000.p/1", "/tile/entries/000", "/tile/entries/001.p/44"} {
		if w := ask("GET", path); w.Code != http.StatusOK || w.Body.Len() == 0 {
			t.Errorf("%s: %d", path, w.Code)
		}
		if w := ask("POST", path); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", path, w.Code)
		}
	}
}

// Retention refuses to read and breaks nothing.
func TestRetentionRefusesReads(t *testing.T) {
	o := quickOptions(t)
	ctx := context.Background()
	grow(t, o, 600)
	if _, err := PublishTiles(ctx, o.Dir, publicKey(t, o)); err != nil {
		t.Fatal(err)
	}
	l := mustOpen(t, o)
	if err := l.Retain(ctx, 700); err == nil {
		t.Error("a retention behind the log's end is taken")
	}
	if err := l.Retain(ctx, 300); err != nil {
		t.Fatal(err)
	}
	l.Close()
	r := OpenReader(o.Dir)
	for e, err := range r.From(ctx, 0) {
		if err != nil || e.Index != 300 {
			t.Errorf("reading begins at %d, %v", e.Index, err)
		}
		break
	}
	if _, err := r.Get(ctx, 299); !errors.Is(err, ErrRetained) {
		t.Errorf("record 299: %v", err)
	}
	if e, err := r.Get(ctx, 300); err != nil || e.Index != 300 {
		t.Errorf("record 300: %v", err)
	}
	server := httptest.NewServer(Handler(o.Dir, publicKey(t, o)))
	defer server.Close()
	for path, want := range map[string]int{"tile/entries/000": http.StatusGone, "tile/0/000": http.StatusGone, "tile/entries/001": http.StatusOK, "tile/1/000.p/2": http.StatusOK,
		"tile/entries/000.p/100": http.StatusGone, "tile/entries/002.p/88": http.StatusOK, "tile/0/002.p/88": http.StatusOK,
	} {
		if _, status := get(t, server.URL, path); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	retained := mustOpen(t, o)
	if err := retained.Retain(ctx, 601); err != nil {
		t.Fatal(err)
	}
	retained.Close()
	if _, status := get(t, server.URL, "tile/entries/002.p/88"); status != http.StatusGone {
		t.Errorf("a partial bundle of records that are no longer shown: %d", status)
	}
	if report := check(t, o); report.Size != 602 {
		t.Errorf("%d records are checked, want all 602", report.Size)
	}
	l = mustOpen(t, o)
	if err := l.Retain(ctx, 0); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := r.Get(ctx, 0); err != nil {
		t.Errorf("after the retention was lifted: %v", err)
	}
}
