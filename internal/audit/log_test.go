package audit

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
)

// What the gate asks of a log.
var _ interface {
	Append(context.Context, carrel.Record) error
	Enqueue(context.Context, carrel.Record) error
} = (*Log)(nil)

func testOptions(t testing.TB) Options {
	dir := t.TempDir()
	return Options{Dir: filepath.Join(dir, "log"), KeyDir: filepath.Join(dir, "keys"), Second: filepath.Join(dir, "second", "checkpoint")}
}

// quickDisk is the real disk without waiting for it: for tests that look at
// what is written and not at what survives.
type quickDisk struct{ realDisk }

type quickFile struct{ file }

func (quickFile) sync() error { return nil }

func (quickDisk) syncDir(string) error { return nil }

func (d quickDisk) open(path string, flag int) (file, error) {
	f, err := d.realDisk.open(path, flag)
	if err != nil {
		return nil, err
	}
	return quickFile{f}, nil
}

func quickOptions(t testing.TB) Options {
	o := testOptions(t)
	o.disk = quickDisk{}
	return o
}

func mustOpen(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func observe(text string) carrel.Record {
	return carrel.Record{Kind: carrel.KindObservation, Note: carrel.Text(text)}
}

func TestFirstUse(t *testing.T) {
	o := testOptions(t)
	l := mustOpen(t, o)
	if err := l.Append(context.Background(), observe("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal("closing twice:", err)
	}
	l = mustOpen(t, o)
	if size, _ := l.Head(); size != 2 {
		t.Errorf("size %d, want 2: created and hello", size)
	}
	l.Close()
}

func BenchmarkOpen(b *testing.B) {
	o := testOptions(b)
	mustOpen(b, o).Close()
	for b.Loop() {
		mustOpen(b, o).Close()
	}
}

// BenchmarkRun is what the log adds to one run of an agent.
func BenchmarkRun(b *testing.B) {
	ctx := context.Background()
	o := testOptions(b)
	mustOpen(b, o).Close()
	for b.Loop() {
		l := mustOpen(b, o)
		run := startRun(b, l)
		if err := l.Append(ctx, carrel.Record{Kind: carrel.KindRunEnd, Run: run, RunInfo: &carrel.RunInfo{}}); err != nil {
			b.Fatal(err)
		}
		if _, err := l.Checkpoint(ctx); err != nil {
			b.Fatal(err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSync is the floor: one write and one sync, nothing else.
func BenchmarkSync(b *testing.B) {
	f, err := realDisk{}.open(filepath.Join(b.TempDir(), "f"), os.O_RDWR|os.O_CREATE)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	line := make([]byte, 500)
	off := int64(0)
	for b.Loop() {
		if err := writeAll(f, line, off); err != nil {
			b.Fatal(err)
		}
		if err := f.sync(); err != nil {
			b.Fatal(err)
		}
		off += 500
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(map[int]string{1: "1", 16: "16", 64: "64"}[writers], func(b *testing.B) {
			l := mustOpen(b, testOptions(b))
			defer l.Close()
			run := carrel.NewRunID()
			l.Append(context.Background(), carrel.Record{Kind: carrel.KindRunStart, Run: run, RunInfo: &carrel.RunInfo{}})
			a := carrel.Action{ID: carrel.NewActionID(), Run: run, Operation: carrel.OpConnect, Host: "api.example.test", Port: 443, Protocol: carrel.ProtoTLS}
			digest, _ := a.Digest()
			r := carrel.Record{Kind: carrel.KindIntent, Run: run, Action: &a, ActionDigest: digest, Decision: &carrel.Decision{Verdict: carrel.Allow, Rules: []string{"user/egress"}}}
			n := make(chan struct{})
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for range n {
						if err := l.Append(context.Background(), r); err != nil {
							b.Error(err)
						}
					}
				})
			}
			start := time.Now()
			for b.Loop() {
				n <- struct{}{}
			}
			close(n)
			wg.Wait()
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "records/s")
		})
	}
}
