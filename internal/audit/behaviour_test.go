package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/verify"
)

func collect(t testing.TB, seq func(func(Entry, error) bool)) []Entry {
	t.Helper()
	var out []Entry
	for e, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// The numbers of a run have no hole, whatever else is recorded between, and
// the last record says how many there are.
func TestRunsAreNumberedAndClosed(t *testing.T) {
	o := testOptions(t)
	ctx := context.Background()
	a, b := mustOpen(t, o), mustOpen(t, o)
	defer b.Close()
	run := startRun(t, a)
	other := startRun(t, b)
	for i := range 3 {
		for _, err := range []error{
			a.Enqueue(ctx, carrel.Record{Kind: carrel.KindObservation, Run: run, Note: carrel.Text(fmt.Sprint(i))}),
			b.Append(ctx, carrel.Record{Kind: carrel.KindObservation, Run: other}),
			b.Append(ctx, carrel.Record{Kind: carrel.KindObservation, Run: run, Note: "from elsewhere"}),
			a.Append(ctx, observe("without a run")),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := a.Append(ctx, carrel.Record{Kind: carrel.KindRunStart, Run: run, RunInfo: &carrel.RunInfo{}}); err == nil {
		t.Error("a run started twice")
	}
	if err := a.Append(ctx, carrel.Record{Kind: carrel.KindRunEnd, Run: run, RunInfo: &carrel.RunInfo{ExitCode: 3}}); err != nil {
		t.Fatal(err)
	}
	if err := a.Append(ctx, carrel.Record{Kind: carrel.KindObservation, Run: run, Note: "afterwards"}); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	var seqs []int64
	var last carrel.Record
	for _, e := range collect(t, OpenReader(o.Dir).Run(ctx, run)) {
		if e.Record.Run != run {
			t.Errorf("record of %s among those of %s", e.Record.Run, run)
		}
		seqs = append(seqs, e.Record.RunSeq)
		if e.Record.Kind == carrel.KindRunEnd {
			last = e.Record
		}
	}
	if got, want := fmt.Sprint(seqs), "[1 0 0 2 3 4 0 5 0]"; len(seqs) != 9 || strings.Count(got, "0") != 4 {
		t.Errorf("numbers are %s, want something like %s", got, want)
	}
	if last.RunInfo == nil || last.RunInfo.Records != 5 || last.RunInfo.ExitCode != 3 {
		t.Errorf("run.end is %+v", last.RunInfo)
	}
	if r := check(t, o); r.Runs != 1 || len(r.Open) != 1 || r.Open[0] != other {
		t.Errorf("report is %+v", r)
	}
}

func TestRecordsThatAreRefused(t *testing.T) {
	o := testOptions(t)
	l := mustOpen(t, o)
	defer l.Close()
	ctx := context.Background()
	run := startRun(t, l)
	huge := strings.Repeat("x", verify.MaxRecord)
	if err := l.Append(ctx, carrel.Record{Kind: carrel.KindObservation, Run: run, Note: carrel.Text(huge)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a huge record: %v", err)
	}
	for name, r := range map[string]carrel.Record{
		"no kind":          {},
		"unknown kind":     {Kind: "event"},
		"a bad run":        {Kind: carrel.KindObservation, Run: "run_../../x"},
		"no action":        {Kind: carrel.KindIntent},
		"no run":           {Kind: carrel.KindRunStart, RunInfo: &carrel.RunInfo{}},
		"an inexact count": {Kind: carrel.KindObservation, Counts: map[string]int64{"n": 1 << 60}},
		"invalid UTF-8":    {Kind: carrel.KindRunEnd, Run: run, RunInfo: &carrel.RunInfo{Agent: "\xff"}},
	} {
		if err := l.Append(ctx, r); err == nil {
			t.Errorf("a record with %s was taken", name)
		}
	}
	if err := l.Append(ctx, carrel.Record{Kind: carrel.KindRunEnd, Run: run, RunInfo: &carrel.RunInfo{}}); err != nil {
		t.Errorf("after the refusals: %v", err)
	}
	check(t, o)
}

// Names of files, arguments and the like hold any bytes: nothing is lost, and
// none of them begins a line of its own.
func TestHostileTextIsKept(t *testing.T) {
	o := testOptions(t)
	l := mustOpen(t, o)
	ctx := context.Background()
	hostile := []string{"\x00\xff\xfe", "a\nb\r\n{\"v\":1}", "\x1b]52;c;x\x07", "\u2028\u202e\u200b", "\xed\xa0\x80", `","run_seq":9007199254740991,"x":"`}
	run := startRun(t, l)
	for _, text := range hostile {
		if err := l.Append(ctx, carrel.Record{Kind: carrel.KindObservation, Run: run, Note: carrel.Text(text)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Append(ctx, carrel.Record{Kind: carrel.KindObservation, Run: run, Counts: map[string]int64{"run_seq": pendingSeq, "x": 1}}); err != nil {
		t.Fatal(err)
	}
	l.Close()
	got := collect(t, OpenReader(o.Dir).Run(ctx, run))
	for i, text := range hostile {
		if string(got[i+1].Record.Note) != text {
			t.Errorf("%q became %q", text, got[i+1].Record.Note)
		}
		line := Format(got[i+1].Record, func(s string) string { return fmt.Sprintf("%q", s) })
		if strings.ContainsAny(line, "\n\r\x00\x1b\u2028\u202e\u200b\a") {
			t.Errorf("the line for people is %q", line)
		}
	}
	if last := got[len(got)-1].Record; last.RunSeq != int64(len(got)) || last.Counts["run_seq"] != pendingSeq {
		t.Errorf("the last record is %+v", last)
	}
	check(t, o)
}

func TestEnqueuedRecordsAreWrittenSoon(t *testing.T) {
	o := testOptions(t)
	l := mustOpen(t, o)
	defer l.Close()
	if err := l.Enqueue(context.Background(), observe("soon")); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		if size, _ := OpenReader(o.Dir).Size(context.Background()); size == 2 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("not written after ten seconds")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// When the disk does not keep up whoever enqueues waits: the batch stays
// bounded and nothing is dropped.
func TestEnqueueWaitsForTheDisk(t *testing.T) {
	o := testOptions(t)
	l := mustOpen(t, o)
	ctx := context.Background()
	const writers, records = 8, 150
	text := strings.Repeat("x", 4000)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range records {
				if err := l.Enqueue(ctx, observe(text)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	l.storeMu.Lock() // the disk stands still
	held, deadline := 0, time.Now().Add(30*time.Second)
	for held+2*len(text) < maxBatch && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
		l.mu.Lock()
		held = l.next.bytes
		l.mu.Unlock()
	}
	time.Sleep(50 * time.Millisecond)
	l.mu.Lock()
	if held = l.next.bytes; held > maxBatch || held+2*len(text) < maxBatch {
		t.Errorf("the batch holds %d bytes while the disk stands still, limit %d", held, maxBatch)
	}
	l.mu.Unlock()
	stuck, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	if err := l.Enqueue(stuck, observe(text)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("enqueueing without room: %v", err)
	}
	cancel()
	l.storeMu.Unlock()
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r := check(t, o); r.Size != 1+writers*records {
		t.Errorf("%d records, want %d", r.Size, 1+writers*records)
	}
}

func TestClosedLogTakesNothing(t *testing.T) {
	o := testOptions(t)
	l := mustOpen(t, o)
	if err := l.Enqueue(context.Background(), observe("last")); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(context.Background(), observe("late")); !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
	if got := notes(t, o); got[len(got)-1] != "last" {
		t.Errorf("records are %q", got)
	}
}

func TestLockIsWaitedForWithABound(t *testing.T) {
	o := testOptions(t)
	mustOpen(t, o).Close()
	held, err := openLock(o.Dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer held.close()
	if err := held.take(context.Background()); err != nil {
		t.Fatal(err)
	}
	o.LockWait, o.slow = 50*time.Millisecond, time.Millisecond
	said := make(chan struct{}, 2)
	o.OnSlow = func() { said <- struct{}{} }
	if err := openError(t, o); !errors.Is(err, ErrBusy) {
		t.Errorf("%v, want ErrBusy", err)
	}
	if len(said) != 1 {
		t.Errorf("who waited was told so %d times, want once", len(said))
	}
	o.OnSlow = nil
	if err := held.drop(); err != nil {
		t.Fatal(err)
	}
	if err := openError(t, o); err != nil {
		t.Errorf("after it was dropped: %v", err)
	}
}

// A log that others write to without a pause is waited for: nothing fails
// because the disk is slow.
func TestLogThatGrowsIsWaitedFor(t *testing.T) {
	o := testOptions(t)
	mustOpen(t, o).Close()
	held, err := openLock(o.Dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer held.close()
	if err := held.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(o.Dir, tailFile)
	tail, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	o.LockWait = 200 * time.Millisecond
	opened := make(chan error)
	go func() {
		l, err := Open(context.Background(), o)
		if err == nil {
			err = l.Close()
		}
		opened <- err
	}()
	for n := range 20 { // four times the bound
		if err := os.WriteFile(path, append(slices.Clone(tail), byte(n)), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(40 * time.Millisecond)
	}
	if err := errors.Join(os.WriteFile(path, tail, 0o600), held.drop()); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

// The boot clock goes on between two times that it is asked.
func TestBootClockGoesOn(t *testing.T) {
	before := now()
	for range 1000 {
		after := now()
		if after.boot < before.boot || after.wall < before.wall {
			t.Fatalf("from %+v to %+v", before, after)
		}
		before = after
	}
	if asked := bootMicros(); asked > 0 && (before.boot > asked || asked-before.boot > 1_000_000) {
		t.Errorf("%d µs, and asked %d", before.boot, asked)
	}
}

func TestClockJumpsAreRecorded(t *testing.T) {
	const second = 1_000_000
	for name, c := range map[string]struct {
		before, after moment
		sameBoot      bool
		want          int64
	}{
		"first":              {moment{}, moment{5, 5}, false, 0},
		"steady":             {moment{10 * second, second}, moment{20 * second, 11 * second}, true, 0},
		"slewed":             {moment{10 * second, second}, moment{21 * second, 11 * second}, true, 0},
		"hour back":          {moment{7200 * second, second}, moment{3600 * second, second}, true, -3600 * second},
		"years ahead":        {moment{second, second}, moment{315360001 * second, second}, true, 315360000 * second},
		"asleep":             {moment{second, second}, moment{100 * second, 100 * second}, true, 0},
		"restarted":          {moment{second, 900 * second}, moment{1000 * second, second}, false, 0},
		"restarted and back": {moment{1000 * second, second}, moment{10 * second, second}, false, -990 * second},
	} {
		if got := jump(c.before, c.after, c.sameBoot); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	o := testOptions(t)
	l := mustOpen(t, o)
	l.store.tail.WallUS += 3600 * second
	if err := l.Append(context.Background(), observe("after")); err != nil {
		t.Fatal(err)
	}
	l.Close()
	got := notes(t, o)
	if len(got) != 3 || !strings.HasPrefix(got[1], "clock_jump") || got[2] != "after" {
		t.Errorf("records are %q", got)
	}
}

func TestCheckpointIsNeverBehindNorOfAnotherPast(t *testing.T) {
	o := testOptions(t)
	l := mustOpen(t, o)
	defer l.Close()
	ctx := context.Background()
	keys := keyring{o.KeyDir, realDisk{}}
	for name, c := range map[string]verify.Checkpoint{
		"ahead":     {Size: 100, Root: verify.EmptyRoot},
		"elsewhere": {Size: 1, Root: verify.EmptyRoot},
	} {
		signed, err := sign(keys, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := replace(realDisk{}, o.Second, signed); err != nil {
			t.Fatal(err)
		}
		l := mustOpenUnchecked(t, o)
		if _, err := l.Checkpoint(ctx); !errors.Is(err, ErrRolledBack) {
			t.Errorf("%s: %v, want ErrRolledBack", name, err)
		}
		if err := l.Append(ctx, observe("more")); err == nil {
			t.Errorf("%s: the log went on", name)
		}
		l.Close()
		if err := os.Remove(o.Second); err != nil {
			t.Fatal(err)
		}
	}
}

// mustOpenUnchecked opens the log while its second place is fine and returns
// it as if that had changed since.
func mustOpenUnchecked(t *testing.T, o Options) *Log {
	t.Helper()
	saved, err := os.ReadFile(o.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(o.Second); err != nil {
		t.Fatal(err)
	}
	l := mustOpen(t, o)
	if err := os.WriteFile(o.Second, saved, 0o600); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestReaderFindsAndFollows(t *testing.T) {
	o := testOptions(t)
	o.segmentBytes = 2000
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r := OpenReader(o.Dir)
	if size, err := r.Size(ctx); size != 0 || err != nil {
		t.Errorf("a log that does not exist has %d records, %v", size, err)
	}
	l := mustOpen(t, o)
	defer l.Close()
	for i := range 30 {
		if err := l.Append(ctx, observe(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	for from := range int64(33) {
		got := collect(t, r.From(ctx, from))
		if len(got) != int(max(0, 31-from)) || len(got) > 0 && got[0].Index != from {
			t.Errorf("from %d: %d records", from, len(got))
		}
	}
	if err := os.Remove(filepath.Join(o.Dir, verify.IndexFile)); err != nil {
		t.Fatal(err)
	}
	if got := collect(t, r.From(ctx, 17)); len(got) != 14 || got[0].Record.Note != "16" {
		t.Errorf("without an index: %d records", len(got))
	}
	n := 0
	for e, err := range r.Follow(ctx, 29) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n <= 40 {
			if err := l.Append(ctx, observe("more")); err != nil {
				t.Fatal(err)
			}
		}
		if e.Index == 50 {
			break
		}
	}
	if n != 22 {
		t.Errorf("followed %d records, want 22", n)
	}
}

// growing is a disk on which the log grows whenever a reader looks at its index.
type growing struct {
	realDisk
	grow func()
}

func (d growing) open(path string, flag int) (file, error) {
	if filepath.Base(path) == verify.IndexFile {
		d.grow()
	}
	return d.realDisk.open(path, flag)
}

// A log that grows between a reader's look at its end and the one at its index
// is not damaged.
func TestReaderOfALogThatGrows(t *testing.T) {
	for _, segment := range []int64{0, 500} { // within a segment, and into the next
		o := testOptions(t)
		o.segmentBytes = segment
		l := mustOpen(t, o)
		defer l.Close()
		ctx, left := context.Background(), 12
		r := &Reader{o.Dir, growing{grow: func() {
			if left--; left >= 0 {
				if err := l.Append(ctx, observe("grown")); err != nil {
					t.Error(err)
				}
			}
		}}}
		got := collect(t, r.From(ctx, 0))
		for i, e := range got {
			if e.Index != int64(i) {
				t.Fatalf("record %d came as the %dth", e.Index, i)
			}
		}
		left = 12
		if size, err := r.Size(ctx); err != nil || size < int64(len(got)) {
			t.Errorf("read %d of %d records, %v", len(got), size, err)
		}
	}
}

func TestReaderSaysWhereALogIsDamaged(t *testing.T) {
	o := testOptions(t)
	appendAll(t, o, "one", "two", "three")
	path := filepath.Join(o.Dir, verify.SegmentName(0))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{
		"a zeroed record": []byte(strings.Replace(string(b), "two", "\x00\x00\x00", 1)),
		"a cut end":       b[:len(b)-10],
		"no record":       []byte(strings.Replace(string(b), `"note":"two"`, `"note":2`, 1)),
	} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		var got error
		for _, err := range OpenReader(o.Dir).From(context.Background(), 0) {
			got = err
		}
		if !errors.Is(got, ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, got)
		}
	}
}
