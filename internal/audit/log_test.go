package audit

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
)

// What the gate asks of a log.
var _ interface {
	Append(context.Context, carrel.Record) error
	Enqueue(context.Context, carrel.Record) error
} = (*Log)(nil)

func testOptions(t testing.TB) Options { return optionsIn(t.TempDir()) }

func optionsIn(dir string) Options {
	return Options{Dir: filepath.Join(dir, "log"), KeyDir: filepath.Join(dir, "keys"), Second: filepath.Join(dir, "second", "checkpoint")}
}

// quickDisk is the real disk without waiting for it: for tests that look at
// what is written and not at what survives.
type quickDisk struct{ realDisk }

type quickFile struct{ file }

func (quickFile) sync() error { return nil }

func (quickFile) reserve(int64, int64) error { return nil }

func (quickDisk) syncDir(string) error { return nil }

func (d quickDisk) open(path string, flag int) (file, error) {
	f, err := d.realDisk.open(path, flag)
	if err != nil {
		return nil, err
	}
	return quickFile{f}, nil
}

func quickOptions(t testing.TB) Options {
	o := optionsIn(memoryDir(t))
	o.disk = quickDisk{}
	return o
}

// memoryDir is a directory in memory where there is such a place.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "audit-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
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

// BenchmarkAppend has writers that append one record after the other, each as
// soon as the one before is durable.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(strconv.Itoa(writers), func(b *testing.B) {
			o := testOptions(b)
			disk := &timedDisk{}
			o.disk = disk
			l := mustOpen(b, o)
			defer l.Close()
			r := intent(startRun(b, l))
			disk.syncs, disk.waited = 0, 0
			took := make([][]time.Duration, writers)
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			for w := range writers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						start := time.Now()
						if err := l.Append(context.Background(), r); err != nil {
							b.Error(err)
						}
						took[w] = append(took[w], time.Since(start))
					}
				})
			}
			wg.Wait()
			all := slices.Concat(took...)
			slices.Sort(all)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(disk.waited.Microseconds())/float64(disk.syncs), "sync-µs")
			b.ReportMetric(float64(b.N)/float64(disk.syncs), "batch")
		})
	}
}

// intent is a record as the gate writes most of.
func intent(run carrel.RunID) carrel.Record {
	a := carrel.Action{ID: carrel.NewActionID(), Run: run, Operation: carrel.OpConnect, Host: "api.example.test", Port: 443, Protocol: carrel.ProtoTLS}
	digest, _ := a.Digest()
	return carrel.Record{Kind: carrel.KindIntent, Run: run, Action: &a, ActionDigest: digest, Decision: &carrel.Decision{Verdict: carrel.Allow, Rules: []string{"user/egress"}}}
}

// timedDisk measures how long the log waits for its segments.
var syncTime = flag.Duration("audit.sync", 0, "BenchmarkAppend: how long each wait for the disk lasts in addition")

type timedDisk struct {
	realDisk
	syncs  int
	waited time.Duration
}

type timedFile struct {
	file
	disk *timedDisk
}

func (d *timedDisk) open(path string, flag int) (file, error) {
	f, err := d.realDisk.open(path, flag)
	if err != nil || !strings.HasSuffix(path, ".jsonl") {
		return f, err
	}
	return timedFile{f, d}, nil
}

func (f timedFile) sync() error {
	start := time.Now()
	if *syncTime > 0 { // a disk that always takes as long
		sleepExactly(*syncTime)
	}
	defer func() { f.disk.syncs, f.disk.waited = f.disk.syncs+1, f.disk.waited+time.Since(start) }()
	return f.file.sync()
}
