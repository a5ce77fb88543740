package verify

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/carrel-dev/carrel"
)

func verifyFixture(t testing.TB, f fixture, o Options) (Report, error) {
	t.Helper()
	dir := t.TempDir()
	f.write(t, dir)
	_, key := fixtureKeys(t, fixtureOrigin)
	return Log(context.Background(), dir, key, o)
}

func TestLogOfTheVectors(t *testing.T) {
	r, err := verifyFixture(t, fixtureFiles(t, fixtureRecords(t)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Size != 9 || r.Unsigned != 1 || r.Checkpoint == nil || r.Checkpoint.Size != 8 || r.Runs != 1 || len(r.Open) != 0 || r.Torn != 0 {
		t.Errorf("report is %+v", r)
	}
	if len(r.Unknown) != 1 || r.Unknown[0] != "act_01jd3m0000000000000000001g" {
		t.Errorf("unknown actions are %q", r.Unknown)
	}
}

// lines returns the records of a fixture, as stored.
func (f fixture) lines() [][]byte {
	var out [][]byte
	for _, name := range []string{SegmentName(0), SegmentName(4)} {
		out = append(out, bytes.Split(bytes.TrimSuffix(f[name], []byte("\n")), []byte("\n"))...)
	}
	return out
}

// setLines stores other records, with the split between segments made right
// again: only what is signed still speaks against them. The derived files go.
func (f fixture) setLines(lines [][]byte) {
	f[SegmentName(0)] = append(bytes.Join(lines[:4], []byte("\n")), '\n')
	f[SegmentName(4)] = append(bytes.Join(lines[4:], []byte("\n")), '\n')
	delete(f, HashesFile)
	delete(f, IndexFile)
}

// Edit, drop, swap, insert, replay, cut, re-sign: every way to alter a log
// that was signed.
func TestTamperedLogIsRefused(t *testing.T) {
	whole := fixtureFiles(t, fixtureRecords(t))
	_, otherKey := fixtureKeys(t, "carrel.local/log/other")
	for name, tamper := range map[string]func(f fixture){
		"a note edited": func(f fixture) {
			f.setLines(replaceIn(f.lines(), `"created"`, `"crowned"`))
		},
		"a refusal made an allowance": func(f fixture) {
			f.setLines(replaceIn(f.lines(), `"verdict":"deny"`, `"verdict":"allow"`))
		},
		"a record dropped":    func(f fixture) { f.setLines(slices.Delete(f.lines(), 3, 4)) },
		"the first dropped":   func(f fixture) { f.setLines(slices.Delete(f.lines(), 0, 1)) },
		"two records swapped": func(f fixture) { l := f.lines(); l[3], l[4] = l[4], l[3]; f.setLines(l) },
		"a record inserted":   func(f fixture) { l := f.lines(); f.setLines(slices.Insert(l, 4, freshLine(t, 50))) },
		"a record replayed":   func(f fixture) { l := f.lines(); f.setLines(append(l, l[3])) },
		"the end cut":         func(f fixture) { f.setLines(f.lines()[:7]) },
		"the end cut in a record": func(f fixture) {
			f.setLines(f.lines()[:8])
			f[SegmentName(4)] = f[SegmentName(4)][:len(f[SegmentName(4)])-5]
		},
		"everything cut":         func(f fixture) { f[SegmentName(0)] = nil; delete(f, SegmentName(4)) },
		"a segment gone":         func(f fixture) { delete(f, SegmentName(4)) },
		"the first segment gone": func(f fixture) { delete(f, SegmentName(0)) },
		"a segment renamed":      func(f fixture) { f[SegmentName(5)] = f[SegmentName(4)]; delete(f, SegmentName(4)) },
		"a segment twice":        func(f fixture) { f[SegmentName(8)] = f[SegmentName(4)] },
		"signed by another key":  func(f fixture) { f[CheckpointFile] = resign(t, "carrel.local/log/other", f[CheckpointFile]) },
		"another log's checkpoint under our name": func(f fixture) {
			f[CheckpointFile] = bytes.Replace(resign(t, "carrel.local/log/other", f[CheckpointFile]), []byte("other"), []byte("vectors"), -1)
		},
		"a size of the checkpoint edited": func(f fixture) {
			f[CheckpointFile] = bytes.Replace(f[CheckpointFile], []byte("\n8\n"), []byte("\n7\n"), 1)
		},
		"an empty checkpoint":  func(f fixture) { f[CheckpointFile] = nil },
		"a stored hash edited": func(f fixture) { f[HashesFile][70] ^= 1 },
		"an index edited":      func(f fixture) { f[IndexFile][7] ^= 1 },
	} {
		f := whole.clone()
		tamper(f)
		_, err := verifyFixture(t, f, Options{})
		var fault *Fault
		if !errors.As(err, &fault) {
			t.Errorf("%s: %v, want a fault", name, err)
		} else if fault.File == "" || fault.Reason == "" {
			t.Errorf("%s: the fault does not say where or why: %+v", name, fault)
		}
	}
	if _, err := Log(context.Background(), t.TempDir(), otherKey, Options{}); err == nil {
		t.Error("an empty directory is a log")
	}
}

func replaceIn(lines [][]byte, from, to string) [][]byte {
	for i := range lines {
		lines[i] = bytes.Replace(lines[i], []byte(from), []byte(to), 1)
	}
	return lines
}

func freshLine(t testing.TB, n int) []byte {
	t.Helper()
	r := fixtureRecords(t)[0]
	r.ID = fixtureID(n)
	b, err := carrel.Canonical(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func resign(t testing.TB, origin string, signed []byte) []byte {
	t.Helper()
	s, _ := fixtureKeys(t, origin)
	text, _, _ := strings.Cut(string(signed), "\n\n")
	_, rest, _ := strings.Cut(text, "\n")
	out, err := note.Sign(&note.Note{Text: origin + "\n" + rest + "\n"}, s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var everyBit = flag.Bool("verify.every-bit", false, "flip every bit of every byte, not only one of each")

// Every byte of every file, and every length of every file. What is not signed
// and not in the derived files may be missing at the end; nothing else may.
func TestEveryByteAndEveryLength(t *testing.T) {
	whole := fixtureFiles(t, fixtureRecords(t))
	dir := t.TempDir()
	whole.write(t, dir)
	_, key := fixtureKeys(t, fixtureOrigin)
	ctx := context.Background()
	clean, err := Log(ctx, dir, key, Options{})
	if err != nil {
		t.Fatal(err)
	}
	flips, cuts := 0, 0
	for name, content := range whole {
		file, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		put := func(b []byte, at int) {
			if _, err := file.WriteAt(b, int64(at)); err != nil {
				t.Fatal(err)
			}
		}
		for i, b := range content {
			for bit := range 8 {
				if !*everyBit && bit != i%8 {
					continue
				}
				put([]byte{b ^ 1<<bit}, i)
				flips++
				// The last newline changed leaves a torn record.
				if r, err := Log(ctx, dir, key, Options{}); err == nil && r.Torn == 0 {
					t.Errorf("%s: bit %d of byte %d flipped, and the log is right", name, bit, i)
				}
			}
			put([]byte{b}, i)
		}
		for n := len(content) - 1; n >= 0; n-- {
			if err := file.Truncate(int64(n)); err != nil {
				t.Fatal(err)
			}
			cuts++
			derived := name == HashesFile || name == IndexFile
			if r, err := Log(ctx, dir, key, Options{}); err == nil && !derived && r.Size == clean.Size {
				t.Errorf("%s: cut at %d, and the log is right", name, n)
			}
		}
		put(content, 0)
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Log(ctx, dir, key, Options{}); err != nil {
		t.Errorf("put together again: %v", err)
	}
	t.Logf("%d flipped bits, %d cuts", flips, cuts)
}

// Runs: holes, wrong counts, ends that are no ends. None of it is signed here,
// so that nothing but the numbers can speak against it.
func TestRunsWithFaults(t *testing.T) {
	for name, alter := range map[string]func(r []carrel.Record) []carrel.Record{
		"a hole":                    func(r []carrel.Record) []carrel.Record { return slices.Delete(r, 4, 5) },
		"a number twice":            func(r []carrel.Record) []carrel.Record { r[5].RunSeq = 3; return r },
		"no start":                  func(r []carrel.Record) []carrel.Record { return slices.Delete(r, 1, 2) },
		"a start that is not first": func(r []carrel.Record) []carrel.Record { r[1].RunSeq = 2; return r },
		"a start without a number":  func(r []carrel.Record) []carrel.Record { r[1].RunSeq = 0; return r },
		"a wrong count":             func(r []carrel.Record) []carrel.Record { r[7].RunInfo.Records = 5; return r },
		"no count":                  func(r []carrel.Record) []carrel.Record { r[7].RunInfo.Records = 0; return r },
		"going on after the end":    func(r []carrel.Record) []carrel.Record { r[8].Run, r[8].RunSeq = fixtureRun, 7; return r },
		"starting again after the end": func(r []carrel.Record) []carrel.Record {
			r[8].Kind, r[8].Run, r[8].RunSeq, r[8].RunInfo = carrel.KindRunStart, fixtureRun, 1, r[1].RunInfo
			return r
		},
		"a result without an intent": func(r []carrel.Record) []carrel.Record { r[4].Action.ID = "act_01jd3m0000000000000000002g"; return r },
		"a result of another action": func(r []carrel.Record) []carrel.Record { r[4].ActionDigest = r[5].ActionDigest; return r },
		"an intent twice": func(r []carrel.Record) []carrel.Record {
			r[6].Action.ID = r[2].Action.ID
			r[6].ID = fixtureID(60)
			r[4].Kind, r[4].Note = carrel.KindObservation, "x"
			return r
		},
		"an action that is not shown": func(r []carrel.Record) []carrel.Record { r[2].Action.Host = "other.test"; return r },
		"a refusal of another action": func(r []carrel.Record) []carrel.Record { r[5].Action.Path = "/etc/motd"; return r },
		"an identifier twice":         func(r []carrel.Record) []carrel.Record { r[8].ID = r[0].ID; return r },
		"an unknown kind":             func(r []carrel.Record) []carrel.Record { r[8].Kind = "event"; return r },
		"another version":             func(r []carrel.Record) []carrel.Record { r[8].Version = 2; return r },
	} {
		f := fixtureFiles(t, alter(fixtureRecords(t)))
		delete(f, CheckpointFile)
		if n := len(f); n != 4 {
			t.Fatalf("%s: %d files", name, n)
		}
		_, err := verifyFixture(t, f, Options{})
		var fault *Fault
		if !errors.As(err, &fault) {
			t.Errorf("%s: %v, want a fault", name, err)
		}
	}
}

// The first fault is named by file, offset and record.
func TestFaultNamesThePlace(t *testing.T) {
	f := fixtureFiles(t, fixtureRecords(t))
	segment := SegmentName(4)
	offset := bytes.IndexByte(f[segment], '\n') + 1
	f[segment][offset] = 'x'
	_, err := verifyFixture(t, f, Options{})
	var fault *Fault
	if !errors.As(err, &fault) || fault.File != segment || fault.Offset != int64(offset) || fault.Record != 5 {
		t.Errorf("fault is %v, want %s, offset %d, record 5", err, segment, offset)
	}
}

func TestTornEndIsReportedAndNoFault(t *testing.T) {
	for name, tail := range map[string]string{"half a record": `{"action`, "zeros": "\x00\x00\x00\x00", "half and zeros": "{\"v\x00\x00\n\x00"} {
		f := fixtureFiles(t, fixtureRecords(t))
		f[SegmentName(4)] = append(f[SegmentName(4)], tail...)
		r, err := verifyFixture(t, f, Options{})
		if err != nil || r.Torn != int64(len(tail)) || r.Size != 9 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		f[SegmentName(0)] = append(f[SegmentName(0)], tail...)
		if _, err := verifyFixture(t, f, Options{}); err == nil {
			t.Errorf("%s: taken for torn in the middle of the log", name)
		}
	}
}

// Somebody finishes a line, and writes more, while the log is checked.
func TestLogThatGrowsIsNoFault(t *testing.T) {
	f := fixtureFiles(t, fixtureRecords(t))
	whole := f[SegmentName(4)]
	cut := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 10
	f[SegmentName(4)] = whole[:cut]
	dir := t.TempDir()
	f.write(t, dir)
	_, key := fixtureKeys(t, fixtureOrigin)
	r, err := Log(context.Background(), dir, key, Options{})
	if err != nil || r.Size != 8 || r.Torn != 9 {
		t.Fatalf("%+v, %v", r, err)
	}
	r, err = Log(context.Background(), dir, key, Options{Progress: func(done, _ int64) {
		if done <= int64(len(f[SegmentName(0)])) {
			return
		}
		if err := os.WriteFile(filepath.Join(dir, SegmentName(4)), whole, 0o600); err != nil {
			t.Error(err)
		}
	}})
	if err != nil || r.Size != 9 || r.Torn != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A checkpoint is replaced all the time while others check the log.
func TestFileThatIsReplacedIsOpened(t *testing.T) {
	dir := t.TempDir()
	path, stop := filepath.Join(dir, "f"), make(chan struct{})
	put := func() error {
		return errors.Join(os.WriteFile(path+".new", nil, 0o600), os.Rename(path+".new", path))
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Microsecond):
				if err := put(); err != nil && runtime.GOOS != "windows" { // there an open file cannot be replaced
					t.Error(err)
				}
			}
		}
	})
	for range 3000 {
		f, err := openRegular(path)
		if err != nil {
			t.Error(err)
			break
		}
		f.Close()
	}
	close(stop)
	group.Wait()
}

func TestRolledBackLogIsFound(t *testing.T) {
	newest := fixtureFiles(t, append(fixtureRecords(t), fixtureMore(t)...))[CheckpointFile]
	if _, err := verifyFixture(t, fixtureFiles(t, fixtureRecords(t)), Options{Newest: newest}); err == nil {
		t.Error("a log behind its newest checkpoint is right")
	}
}

func fixtureMore(t testing.TB) []carrel.Record {
	var out []carrel.Record
	for i := range 3 {
		r := fixtureRecords(t)[0]
		r.ID = fixtureID(20 + i)
		out = append(out, r)
	}
	return out
}

// Going on from a checkpoint gives what a full check gives.
func TestIncrementalCheck(t *testing.T) {
	f := fixtureFiles(t, fixtureRecords(t))
	lines := f.lines()
	_, key := fixtureKeys(t, fixtureOrigin)
	signed, err := OpenCheckpoint(f[CheckpointFile], key)
	if err != nil {
		t.Fatal(err)
	}
	for size := range int64(9) {
		from := Checkpoint{Origin: fixtureOrigin, Size: size, Root: rootOf(lines[:size])}
		r, err := verifyFixture(t, f, Options{From: &from})
		if err != nil || r.Size != 9 || r.Checked != 9-size || r.Root != rootOf(lines) {
			t.Errorf("from %d: %+v, %v", size, r, err)
		}
		from.Root[0] ^= 1
		if _, err := verifyFixture(t, f, Options{From: &from}); err == nil {
			t.Errorf("from %d with another root: the log is right", size)
		}
	}
	beyond := Checkpoint{Origin: fixtureOrigin, Size: 9, Root: rootOf(lines)}
	if _, err := verifyFixture(t, f, Options{From: &beyond}); err == nil {
		t.Error("the log's own checkpoint is older than where the check began, and was not compared")
	}
	altered := f.clone()
	altered[SegmentName(4)] = bytes.Replace(altered[SegmentName(4)], []byte("not signed yet"), []byte("nor signed yet"), 1)
	if _, err := verifyFixture(t, altered, Options{From: &signed}); err == nil {
		t.Error("an altered record after the checkpoint was not found by its stored hash")
	}
}

func TestProgressAndCancel(t *testing.T) {
	f := fixtureFiles(t, fixtureRecords(t))
	total := int64(len(f[SegmentName(0)]) + len(f[SegmentName(4)]))
	calls := 0
	_, err := verifyFixture(t, f, Options{Progress: func(done, all int64) {
		if calls++; all != total || done > all {
			t.Errorf("progress %d of %d, want of %d", done, all, total)
		}
	}})
	if err != nil || calls < 2 {
		t.Errorf("%d calls, %v", calls, err)
	}
	dir := t.TempDir()
	f.write(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, key := fixtureKeys(t, fixtureOrigin)
	if _, err := Log(ctx, dir, key, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

func TestLinksAndDirectoriesInPlaceOfFiles(t *testing.T) {
	for _, name := range []string{SegmentName(0), SegmentName(4), HashesFile, IndexFile} {
		dir := t.TempDir()
		fixtureFiles(t, fixtureRecords(t)).write(t, dir)
		path := filepath.Join(dir, name)
		if err := errors.Join(os.Rename(path, path+".real"), os.Mkdir(path, 0o700)); err != nil {
			t.Fatal(err)
		}
		_, key := fixtureKeys(t, fixtureOrigin)
		if _, err := Log(context.Background(), dir, key, Options{}); err == nil {
			t.Errorf("a directory in place of %s: the log is right", name)
		}
	}
}

func BenchmarkLog(b *testing.B) {
	const records = 20_000
	first := fixtureRecords(b)[2]
	var lines [][]byte
	for i := range records {
		a := *first.Action
		a.ID = carrel.NewActionID()
		r := first
		r.ID, r.Run, r.RunSeq, r.Action, r.Note = carrel.NewRecordID(), otherRun, 0, &a, carrel.Text(fmt.Sprint(i))
		line, err := carrel.Canonical(r)
		if err != nil {
			b.Fatal(err)
		}
		lines = append(lines, line)
	}
	dir := b.TempDir()
	fixtureOf(b, lines, func(int) carrel.RunID { return otherRun }).write(b, dir)
	_, key := fixtureKeys(b, fixtureOrigin)
	for b.Loop() {
		if _, err := Log(context.Background(), dir, key, Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(records*b.N)/b.Elapsed().Seconds(), "records/s")
}
