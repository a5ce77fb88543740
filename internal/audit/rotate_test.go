package audit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/carrel-dev/carrel/verify"
)

// Whoever knows any key that a log ever had can check it; what was signed
// before stays right; the old key signs no more.
func TestKeyIsHandedOn(t *testing.T) {
	o := quickOptions(t)
	ctx := context.Background()
	var keys []string
	var proofs []verify.Proof
	for i := range 4 {
		c := grow(t, o, int64(10*(i+1)))
		keys = append(keys, publicKey(t, o))
		signed, err := os.ReadFile(o.Second)
		if err != nil {
			t.Fatal(err)
		}
		p, err := OpenReader(o.Dir).Prove(c.Size-1, signed, keys[i])
		if err != nil {
			t.Fatal(err)
		}
		proofs = append(proofs, p)
		l := mustOpen(t, o)
		fresh, _, err := l.RotateKey(ctx)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if now := publicKey(t, o); now != fresh || now == keys[i] {
			t.Fatalf("the key in force is %s, want %s", now, fresh)
		}
		if _, err := PublishTiles(ctx, o.Dir, fresh); err != nil {
			t.Fatal(err)
		}
	}
	c := grow(t, o, 60)
	newest, _ := os.ReadFile(o.Second)
	for i, key := range keys {
		report, err := verify.Log(ctx, o.Dir, key, verify.Options{Newest: newest})
		if err != nil || report.Key != publicKey(t, o) || report.Checkpoint.Size != c.Size {
			t.Errorf("checked with key %d: %+v, %v", i, report, err)
		}
		entry, err := OpenReader(o.Dir).Get(ctx, proofs[i].Index)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := proofs[i].Check(entry.Raw, key); err != nil {
			t.Errorf("proof under key %d: %v", i, err)
		}
		if _, err := verify.OpenCheckpoint(newest, key); err == nil {
			t.Errorf("key %d still signs", i)
		}
	}
	other := quickOptions(t)
	grow(t, other, 3)
	if _, err := verify.Log(ctx, o.Dir, publicKey(t, other), verify.Options{}); err == nil {
		t.Error("the log is right by a key it never had")
	}
}

// A forged succession hands the log to nobody.
func TestForgedSuccessionIsRefused(t *testing.T) {
	o := quickOptions(t)
	ctx := context.Background()
	grow(t, o, 5)
	old := publicKey(t, o)
	l := mustOpen(t, o)
	if _, _, err := l.RotateKey(ctx); err != nil {
		t.Fatal(err)
	}
	l.Close()
	raw, err := os.ReadFile(filepath.Join(o.Dir, verify.SuccessionFile(1)))
	if err != nil {
		t.Fatal(err)
	}
	good, err := verify.ParseProof(raw)
	if err != nil {
		t.Fatal(err)
	}
	if fresh, err := verify.Successor(good, old); err != nil || fresh != publicKey(t, o) {
		t.Fatalf("%s, %v", fresh, err)
	}
	stranger := quickOptions(t)
	grow(t, stranger, 5)
	thief := publicKey(t, stranger)
	entry, err := OpenReader(o.Dir).Get(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	signatures := strings.SplitAfter(string(good.Checkpoint), "\n")
	for name, p := range map[string]verify.Proof{
		"another record":      {Extra: entry.Raw, Index: good.Index, Hashes: good.Hashes, Checkpoint: good.Checkpoint},
		"another key named":   {Extra: []byte(strings.Replace(string(good.Extra), publicKey(t, o), thief, 1)), Index: good.Index, Hashes: good.Hashes, Checkpoint: good.Checkpoint},
		"signed by one only":  {Extra: good.Extra, Index: good.Index, Hashes: good.Hashes, Checkpoint: []byte(strings.Join(signatures[:len(signatures)-2], ""))},
		"without a signature": {Extra: good.Extra, Index: good.Index, Hashes: good.Hashes, Checkpoint: []byte(strings.Join(signatures[:len(signatures)-3], ""))},
	} {
		if fresh, err := verify.Successor(p, old); err == nil {
			t.Errorf("%s: handed to %s", name, fresh)
		}
	}
	if _, err := verify.Successor(good, thief); err == nil {
		t.Error("handed on from a key that had it never")
	}
}

// Every call of a rotation fails in turn, once and for good: whichever key is
// in force after that, the log opens, goes on and is right by the old key.
func TestEveryFaultOfARotation(t *testing.T) {
	root := memoryDir(t)
	start := optionsIn(filepath.Join(root, "x"))
	start.disk = quickDisk{}
	grow(t, start, 5)
	grown, old := takeSnapshot(t, start), publicKey(t, start)
	rotate := func(o Options) error {
		l, err := Open(context.Background(), o)
		if err != nil {
			return err
		}
		_, _, err = l.RotateKey(context.Background())
		return errors.Join(err, l.Close())
	}
	count := &faultDisk{}
	o := start
	o.disk = count
	if err := rotate(o); err != nil {
		t.Fatal(err)
	}
	points := 0
	for key, calls := range count.seen {
		for n := range calls {
			for _, f := range []fault{{err: syscall.EIO}, {err: syscall.EIO, once: true}, {err: syscall.ENOSPC, short: true, once: true}} {
				points++
				grown.restore(t, start)
				o.disk = &faultDisk{match: key, after: n, fault: f}
				_ = rotate(o)
				o.disk = start.disk
				newest, _ := os.ReadFile(o.Second)
				if _, err := verify.Log(context.Background(), o.Dir, old, verify.Options{Newest: newest}); err != nil {
					t.Errorf("%s, call %d, %+v: before anything mends it: %v", key, n, f, err)
				}
				l, err := Open(context.Background(), o)
				if err != nil {
					t.Errorf("%s, call %d, %+v: %v", key, n, f, err)
					continue
				}
				if err := l.Append(context.Background(), observe("later")); err != nil {
					t.Errorf("%s, call %d: %v", key, n, err)
				}
				if _, err := l.Checkpoint(context.Background()); err != nil {
					t.Errorf("%s, call %d: %v", key, n, err)
				}
				l.Close()
				newest, _ = os.ReadFile(o.Second)
				if _, err := verify.Log(context.Background(), o.Dir, old, verify.Options{Newest: newest}); err != nil {
					t.Errorf("%s, call %d, %+v: by the old key: %v", key, n, f, err)
				}
				if !slices.Contains(notes(t, o), "later") {
					t.Errorf("%s, call %d: what came later is not there", key, n)
				}
			}
		}
	}
	t.Logf("%d fault points", points)
}
