package audit

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/carrel-dev/carrel/verify"
)

// alsoSigned adds a signature of somebody else, as a witness would.
func alsoSigned(t *testing.T, signed []byte) []byte {
	t.Helper()
	private, _, err := note.GenerateKey(nil, "witness.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := bytes.Cut(signed, []byte("\n\n"))
	own, err := note.Sign(&note.Note{Text: string(text) + "\n"}, signer)
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := bytes.Cut(own, []byte("\n\n"))
	return append(bytes.Clone(signed), line...)
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A cosigned checkpoint takes the place of the same one, never of a later one,
// and the newest cosigned one stays however late an older one arrives.
func TestKeepCosigned(t *testing.T) {
	o := quickOptions(t)
	ctx := context.Background()
	l := mustOpen(t, o)
	defer l.Close()
	reader, key := OpenReader(o.Dir), publicKey(t, o)
	if _, _, err := reader.Cosigned(key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before the first: %v", err)
	}
	var cosigned []string
	for _, text := range []string{"one", "two"} {
		if err := l.Append(ctx, observe(text)); err != nil {
			t.Fatal(err)
		}
		signed, err := l.Checkpoint(ctx)
		if err != nil {
			t.Fatal(err)
		}
		cosigned = append(cosigned, string(alsoSigned(t, signed)))
	}
	published := filepath.Join(o.Dir, verify.CheckpointFile)
	before := read(t, published)
	for i, want := range []string{before, cosigned[1], cosigned[1]} { // what is published then
		if err := l.KeepCosigned(ctx, []byte(cosigned[i%2])); err != nil {
			t.Fatal(err)
		}
		if got := read(t, published); got != want || read(t, o.Second) != want {
			t.Errorf("after %d: published is\n%s\nwant\n%s", i, got, want)
		}
		if _, got, err := reader.Cosigned(key); err != nil || string(got) != cosigned[min(i, 1)] {
			t.Errorf("after %d: %v, kept is\n%s", i, err, got)
		}
	}
	if c, err := PublishTiles(ctx, o.Dir, key); err != nil || read(t, filepath.Join(o.Dir, TilesDir, verify.CheckpointFile)) != cosigned[1] {
		t.Errorf("tiles of %d: %v", c.Size, err)
	}
	check(t, o)
	if _, _, err := l.RotateKey(ctx); err != nil {
		t.Fatal(err)
	}
	if _, _, err := reader.Cosigned(publicKey(t, o)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("by the key before: %v", err)
	}
	check(t, o)
	if err := l.KeepCosigned(ctx, []byte(cosigned[1])); err != nil || read(t, o.Second) == cosigned[1] {
		t.Errorf("one by the key before, afterwards: %v", err)
	}
}

// What was cosigned of a past that was accepted as lost is out of the way.
func TestRecoverSetsCosignedAside(t *testing.T) {
	o := quickOptions(t)
	appendAll(t, o, "one")
	old := takeSnapshot(t, o)
	ctx := context.Background()
	l := mustOpen(t, o)
	for range 5 {
		if err := l.Append(ctx, observe("two")); err != nil {
			t.Fatal(err)
		}
	}
	signed, err := l.Checkpoint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.KeepCosigned(ctx, alsoSigned(t, signed)); err != nil {
		t.Fatal(err)
	}
	l.Close()
	state := takeSnapshot(t, o)
	lost := state.onlyDir(old, o).with(filepath.Join(o.Dir, verify.CosignedFile), state[filepath.Join(o.Dir, verify.CosignedFile)])
	lost.restore(t, o)
	var fault *verify.Fault
	if _, err := verify.Log(ctx, o.Dir, publicKey(t, o), verify.Options{}); !errors.As(err, &fault) || fault.File != verify.CosignedFile {
		t.Errorf("the cosigned checkpoint shows nothing: %v", err)
	}
	if _, err := Recover(ctx, o, true); err != nil {
		t.Fatal(err)
	}
	check(t, o)
	if aside, err := filepath.Glob(filepath.Join(o.Dir, verify.CosignedFile+".refused-*")); err != nil || len(aside) != 1 {
		t.Errorf("kept aside: %q, %v", aside, err)
	}
}

// Each proof leads from the past to the checkpoint, and none is given where the
// stored hashes are not those that were signed.
func TestProveTree(t *testing.T) {
	o := quickOptions(t)
	grow(t, o, 300)
	reader := OpenReader(o.Dir)
	c, _, err := reader.Checkpoint(publicKey(t, o))
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range []int64{1, 2, 255, 256, 257, c.Size - 1} {
		if proof, err := reader.ProveTree(c, old); err != nil || len(proof) == 0 || len(proof) > 63 {
			t.Errorf("from %d: %d hashes, %v", old, len(proof), err)
		}
	}
	c.Root = tlog.Hash{1}
	if _, err := reader.ProveTree(c, 256); err == nil {
		t.Error("a proof of another root")
	}
}
