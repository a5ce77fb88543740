package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/verify"
)

// faultDisk makes the nth call of an operation on a file fail.
type faultDisk struct {
	quickDisk
	mu    sync.Mutex
	match string // of the operation and the file's name: "write 0000"
	after int    // calls that still succeed
	fault fault
	hits  int
	seen  map[string]int // calls by operation and name
}

// fault is how a call goes wrong. A short write writes half.
type fault struct {
	err   error
	short bool
	once  bool
}

func (d *faultDisk) check(op, path string) (fault, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := op + " " + filepath.Base(path)
	if d.seen == nil {
		d.seen = map[string]int{}
	}
	d.seen[key]++
	if d.match == "" || !strings.HasPrefix(key, d.match) {
		return fault{}, false
	}
	if d.after--; d.after >= 0 || d.fault.once && d.hits > 0 {
		return fault{}, false
	}
	d.hits++
	return d.fault, true
}

func (d *faultDisk) open(path string, flag int) (file, error) {
	if f, bad := d.check("open", path); bad {
		return nil, f.err
	}
	f, err := d.quickDisk.open(path, flag)
	if err != nil {
		return nil, err
	}
	return &faultFile{f, d, path}, nil
}

func (d *faultDisk) rename(from, to string) error {
	if f, bad := d.check("rename", to); bad {
		return f.err
	}
	return d.quickDisk.rename(from, to)
}

func (d *faultDisk) remove(path string) error {
	if f, bad := d.check("remove", path); bad {
		return f.err
	}
	return d.quickDisk.remove(path)
}

func (d *faultDisk) syncDir(path string) error {
	if f, bad := d.check("syncdir", path); bad {
		return f.err
	}
	return d.quickDisk.syncDir(path)
}

type faultFile struct {
	file
	disk *faultDisk
	path string
}

func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	bad, is := f.disk.check("write", f.path)
	if !is {
		return f.file.WriteAt(b, off)
	}
	n := 0
	if bad.short {
		n, _ = f.file.WriteAt(b[:(len(b)+1)/2], off)
	}
	return n, bad.err
}

func (f *faultFile) Truncate(size int64) error {
	if bad, is := f.disk.check("truncate", f.path); is {
		return bad.err
	}
	return f.file.Truncate(size)
}

func (f *faultFile) sync() error {
	if bad, is := f.disk.check("sync", f.path); is {
		return bad.err
	}
	return f.file.sync()
}

// script appends until something fails, and returns what was acknowledged.
func script(o Options) (acknowledged []string, failed error) {
	ctx := context.Background()
	l, err := Open(ctx, o)
	if err != nil {
		return nil, err
	}
	run := carrel.NewRunID()
	records := []carrel.Record{{Kind: carrel.KindRunStart, Run: run, RunInfo: &carrel.RunInfo{}, Note: "start"}}
	for i := range 4 {
		records = append(records, carrel.Record{Kind: carrel.KindObservation, Run: run, Note: carrel.Text(fmt.Sprint("record ", i))})
	}
	records = append(records, carrel.Record{Kind: carrel.KindRunEnd, Run: run, RunInfo: &carrel.RunInfo{}, Note: "end"})
	for _, r := range records {
		if err := l.Append(ctx, r); err != nil {
			failed = err
			break
		}
		acknowledged = append(acknowledged, string(r.Note))
	}
	if failed != nil {
		if err := l.Append(ctx, observe("after the failure")); err == nil {
			return acknowledged, errors.New("a failed log took another record")
		}
	} else if signed, err := l.Checkpoint(ctx); err != nil {
		failed = err
	} else {
		failed = l.KeepCosigned(ctx, signed)
	}
	return acknowledged, errors.Join(failed, l.Close())
}

// Every call that touches the disk fails once, at each of its occurrences, in
// each way. What was acknowledged is there, nothing else is, and the log opens
// again.
func TestEveryDiskFault(t *testing.T) {
	count := &faultDisk{}
	o := quickOptions(t)
	o.disk, o.segmentBytes = count, 700
	if _, err := script(o); err != nil {
		t.Fatal(err)
	}
	points := 0
	for key, calls := range count.seen {
		for n := range calls {
			for _, f := range faultsOf(key) {
				points++
				testFault(t, key, n, f)
			}
		}
	}
	t.Logf("%d fault points", points)
}

func faultsOf(key string) []fault {
	out := []fault{{err: syscall.EIO}, {err: syscall.ENOSPC}, {err: syscall.EIO, once: true}, {err: syscall.ENOSPC, once: true}, {err: syscall.EROFS}}
	if strings.HasPrefix(key, "write") {
		out = append(out, fault{err: syscall.ENOSPC, short: true}, fault{err: syscall.ENOSPC, short: true, once: true},
			fault{err: syscall.EINTR, short: true, once: true}, fault{short: true, once: true})
	}
	return out
}

func testFault(t *testing.T, key string, n int, f fault) {
	t.Helper()
	o := quickOptions(t)
	disk := &faultDisk{match: key, after: n, fault: f}
	o.disk, o.segmentBytes = disk, 700
	acknowledged, err := script(o)
	name := fmt.Sprintf("%s, call %d, %v (short %v, once %v)", key, n, f.err, f.short, f.once)
	harmless := errors.Is(f.err, syscall.EINTR) || f.err == nil
	if harmless && err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if len(acknowledged) < 6 && err == nil {
		t.Errorf("%s: no error, and only %q acknowledged", name, acknowledged)
	}
	o.disk = quickDisk{}
	l, err := Open(context.Background(), o)
	if err != nil {
		t.Errorf("%s: reopening: %v", name, err)
		return
	}
	if err := l.Append(context.Background(), observe("later")); err != nil {
		t.Errorf("%s: appending later: %v", name, err)
	}
	if _, err := l.Checkpoint(context.Background()); err != nil {
		t.Errorf("%s: signing later: %v", name, err)
	}
	l.Close()
	check(t, o)
	got := notes(t, o)
	for _, note := range acknowledged {
		if !slices.Contains(got, note) {
			t.Errorf("%s: %q was acknowledged and is gone; records are %q", name, note, got)
		}
	}
	if len(acknowledged) > 0 && acknowledged[len(acknowledged)-1] != "end" {
		extra := 0
		for _, note := range got {
			if strings.HasPrefix(note, "record") && !slices.Contains(acknowledged, note) {
				extra++
			}
		}
		if extra > 1 {
			t.Errorf("%s: %d records that nobody acknowledged: %q after %q", name, extra, got, acknowledged)
		}
	}
}

// A full disk: the record is refused, the log says why it closed, and when
// there is room again it goes on.
func TestFullDiskIsRecordedFromTheReserve(t *testing.T) {
	o := testOptions(t)
	appendAll(t, o, "one")
	o.disk = &faultDisk{match: "write 0000", fault: fault{err: syscall.ENOSPC, once: true}}
	l := mustOpen(t, o)
	err := l.Append(context.Background(), observe("two"))
	if !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v, want ErrFull and ENOSPC", err)
	}
	if err := l.Enqueue(context.Background(), observe("three")); err == nil {
		t.Error("a full log took another record")
	}
	l.Close()
	o.disk = nil
	appendAll(t, o, "four")
	got := strings.Join(notes(t, o), "\n")
	if !strings.Contains(got, "full:") || strings.Contains(got, "two") || !strings.Contains(got, "four") {
		t.Errorf("records are %q", got)
	}
	o.disk = &faultDisk{match: "write reserve", fault: fault{err: syscall.ENOSPC}}
	fresh := testOptions(t)
	fresh.disk = o.disk
	if err := openError(t, fresh); !errors.Is(err, ErrFull) {
		t.Errorf("no room for the reserve: %v, want ErrFull", err)
	}
}

// A batch whose sync failed is taken out again: nobody may find it in memory
// now and miss it after a power cut.
func TestFailedBatchIsTakenOut(t *testing.T) {
	for _, call := range []string{"write 0000", "sync 0000"} {
		o := quickOptions(t)
		appendAll(t, o, "one")
		path := filepath.Join(o.Dir, verify.SegmentName(0))
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		o.disk = &faultDisk{match: call, fault: fault{err: syscall.EIO, short: true}}
		l := mustOpen(t, o)
		if err := l.Append(context.Background(), observe("two")); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v, want EIO", call, err)
		}
		l.Close()
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%s: the segment has %d bytes, had %d", call, len(after), len(before))
		}
	}
}
