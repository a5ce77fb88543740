package witness

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/internal/needs"
	"github.com/carrel-dev/carrel/internal/witness/witnesstest"
	"github.com/carrel-dev/carrel/verify"
)

// litewitness starts a witness that others wrote.
func litewitness(t *testing.T) (*witnesstest.Witness, Witness) {
	t.Helper()
	needs.Tool(t, witnesstest.Tools...)
	program, err := witnesstest.Program()
	if err != nil {
		needs.Missing(t, witnesstest.Module, err)
	}
	dir, err := os.MkdirTemp("", "carrel-w") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	running, err := witnesstest.Start(program, dir, "witness.example/one")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(running.Stop)
	key, err := verify.ParseWitness(running.Key)
	if err != nil {
		t.Fatal(err)
	}
	return running, Witness{key, running.URL + "/"}
}

// litewitness cosigns what goes on from what it knows, and nothing else.
func TestLitewitness(t *testing.T) {
	running, w := litewitness(t)
	tr := newTree(t)
	tr.grow(t, 5, "a")
	one := func(r Request) Answer { t.Helper(); return ask(t, 10*time.Second, r, w)[0] }
	if n := one(tr.request(t, 0)); n.Err == nil || errors.Is(n.Err, ErrOtherPast) {
		t.Fatalf("a log that it does not know: %v", n.Err)
	}
	if err := running.Know(tr.Key); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name        string
		size, known int64
	}{{"the first checkpoint", 5, 0}, {"the same again", 5, 5}, {"a proof from what it knows", 300, 5},
		{"a conflict, as nothing is known here", 301, 0}, {"a conflict about an older one", 700, 5}, {"more known here than signed", 701, 9999}} {
		tr.grow(t, step.size, "a")
		r := tr.request(t, step.known)
		n := one(r)
		if n.Err != nil {
			t.Fatalf("%s: %v", step.name, n.Err)
		}
		c, by, err := verify.Cosignatures(append(r.Signed, n.Line...), tr.Key, []verify.Witness{w.Witness})
		if err != nil || c.Size != step.size || len(by) != 1 || !by[0].Time.Equal(n.Time) {
			t.Errorf("%s: %+v, %+v, %v", step.name, c, by, err)
		}
	}
	back := newTree(t)
	back.signer, back.Key = tr.signer, tr.Key
	back.grow(t, 600, "a")
	if n := one(back.request(t, 0)); !errors.Is(n.Err, ErrOtherPast) || n.Ahead != 701 {
		t.Errorf("a log that was rolled back: %v, %d", n.Err, n.Ahead)
	}
	other := newTree(t)
	other.signer = tr.signer
	for _, size := range []int64{701, 900} { // the one by its root, the other by its proof
		other.grow(t, size, "b")
		for _, known := range []int64{0, 701} {
			if n := one(other.request(t, known)); !errors.Is(n.Err, ErrOtherPast) || n.Line != nil {
				t.Errorf("a log with another past, of %d records: %v", size, n.Err)
			}
		}
	}
	foreign := newTree(t)
	foreign.grow(t, 1000, "a")
	if n := one(foreign.request(t, 0)); n.Err == nil || errors.Is(n.Err, ErrOtherPast) {
		t.Errorf("a log with another key: %v", n.Err)
	}
	running.Stop()
	if n := one(tr.request(t, 701)); n.Err == nil || errors.Is(n.Err, ErrOtherPast) {
		t.Errorf("a witness that is down: %v", n.Err)
	}
}
