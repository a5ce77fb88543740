package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/verify"
)

// check verifies the log as a stranger would, against the second place.
func check(t testing.TB, o Options) verify.Report {
	t.Helper()
	key, err := PublicKey(o.KeyDir)
	if err != nil {
		t.Fatal(err)
	}
	newest, err := os.ReadFile(o.Second)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	report, err := verify.Log(context.Background(), o.Dir, key, verify.Options{Newest: newest})
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	return report
}

// notes returns the notes of all records, to find what was recorded.
func notes(t testing.TB, o Options) []string {
	t.Helper()
	var out []string
	for e, err := range OpenReader(o.Dir).From(context.Background(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(e.Record.Note))
	}
	return out
}

// snapshot copies everything of a log, so that a test can go back to it.
type snapshot map[string][]byte

func takeSnapshot(t testing.TB, o Options) snapshot {
	t.Helper()
	s := snapshot{}
	err := filepath.WalkDir(filepath.Dir(o.Dir), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			s[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s snapshot) restore(t testing.TB, o Options) {
	t.Helper()
	root := filepath.Dir(o.Dir)
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	for path, content := range s {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (s snapshot) with(path string, content []byte) snapshot {
	out := snapshot{}
	for p, c := range s {
		out[p] = c
	}
	out[path] = content
	return out
}

// twoStates returns a log before and after its last append, the tail of both
// being written: it follows an answered append a moment later.
func twoStates(t testing.TB, o Options) (before, after snapshot) {
	t.Helper()
	ctx := context.Background()
	l := mustOpen(t, o)
	for i := range 5 {
		if err := l.Append(ctx, observe(fmt.Sprint("acknowledged ", i))); err != nil {
			t.Fatal(err)
		}
	}
	awaitTail(t, o, 6)
	before = takeSnapshot(t, o)
	if err := l.Append(ctx, observe("the last one")); err != nil {
		t.Fatal(err)
	}
	awaitTail(t, o, 7)
	after = takeSnapshot(t, o)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return before, after
}

// awaitTail waits until the tail that is written has size records.
func awaitTail(t testing.TB, o Options, size int64) {
	t.Helper()
	for range 10_000 {
		var written tail
		raw, err := os.ReadFile(filepath.Join(o.Dir, tailFile))
		if err == nil && unseal(raw, &written) == nil && written.Size == size {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("the tail never said %d records", size)
}

// A kill or a power cut between the write and the tail: the segment holds some
// bytes of the last batch and nothing else knows of it.
func TestTornWriteAtEveryOffset(t *testing.T) {
	o := quickOptions(t)
	before, after := twoStates(t, o)
	segment := filepath.Join(o.Dir, verify.SegmentName(0))
	start, whole := len(before[segment]), after[segment]
	for cut := start; cut <= len(whole); cut++ {
		for _, zeros := range []int{0, 1, 4096} {
			if zeros > 0 && cut%8 != 0 && cut < len(whole)-2 {
				continue // each offset without zeros, every eighth with them
			}
			torn := append(append([]byte(nil), whole[:cut]...), make([]byte, zeros)...)
			before.with(segment, torn).restore(t, o)
			l := mustOpen(t, o)
			if err := l.Append(context.Background(), observe("after")); err != nil {
				t.Fatal(err)
			}
			l.Close()
			got := notes(t, o)
			kept := cut == len(whole)
			if strings.Contains(strings.Join(got, "\n"), "the last one") != kept {
				t.Fatalf("cut at %d of %d, %d zeros: records are %q", cut, len(whole), zeros, got)
			}
			lost := len(torn) - start
			if kept {
				lost = zeros
			}
			want := fmt.Sprintf("left %d bytes", lost)
			if strings.Contains(strings.Join(got, "\n"), want) != (lost > 0) {
				t.Fatalf("cut at %d of %d, %d zeros: %q is not recorded in %q", cut, len(whole), zeros, want, got)
			}
			if r := check(t, o); r.Torn != 0 {
				t.Fatalf("cut at %d: %d torn bytes remain", cut, r.Torn)
			}
		}
	}
}

// What was acknowledged is never given up as torn.
func TestAcknowledgedRecordsAreNeverCut(t *testing.T) {
	o := quickOptions(t)
	before, after := twoStates(t, o)
	segment := filepath.Join(o.Dir, verify.SegmentName(0))
	for cut := len(before[segment]); cut < len(after[segment]); cut += 5 {
		damaged := map[string][]byte{
			"cut":    after[segment][:cut],
			"zeroed": append(append([]byte(nil), after[segment][:cut]...), make([]byte, len(after[segment])-cut)...),
		}
		for how, content := range damaged {
			for _, lost := range []string{"nothing", "tail", "head"} {
				state := after.with(segment, content)
				switch lost {
				case "tail":
					state = state.with(filepath.Join(o.Dir, "tail"), nil)
				case "head":
					state = state.with(o.Second+".head", nil)
				}
				state.restore(t, o)
				l, err := Open(context.Background(), o)
				if err == nil {
					l.Close()
					if how == "zeroed" && lost != "tail" {
						continue // the tail did not look; the check finds it
					}
					t.Fatalf("%s at %d without %s: opened", how, cut, lost)
				}
				if !errors.Is(err, ErrRolledBack) && !errors.Is(err, ErrDamaged) {
					t.Fatalf("%s at %d without %s: %v", how, cut, lost, err)
				}
				if left, _ := os.ReadFile(segment); !bytes.Equal(left, content) {
					t.Fatalf("%s at %d without %s: the segment was altered", how, cut, lost)
				}
			}
		}
	}
}

// The tail, hashes and index are derived: lost or damaged ones are made again.
func TestDerivedFilesAreMadeAgain(t *testing.T) {
	o := quickOptions(t)
	_, after := twoStates(t, o)
	for _, name := range []string{"tail", verify.HashesFile, verify.IndexFile} {
		for _, content := range [][]byte{nil, []byte("garbage\n"), make([]byte, 5000)} {
			state := after.with(filepath.Join(o.Dir, "tail"), nil).with(filepath.Join(o.Dir, name), content)
			state.restore(t, o)
			l := mustOpen(t, o)
			if err := l.Append(context.Background(), observe("after")); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Checkpoint(context.Background()); err != nil {
				t.Fatal(err)
			}
			l.Close()
			if r := check(t, o); r.Size != 8 || r.Unsigned != 0 {
				t.Errorf("%s: %d records, %d unsigned; want 8, 0", name, r.Size, r.Unsigned)
			}
		}
	}
}

// After the machine restarted, hashes and index are not believed.
func TestRestartReadsAgain(t *testing.T) {
	o := quickOptions(t)
	_, after := twoStates(t, o)
	for _, name := range []string{verify.HashesFile, verify.IndexFile} {
		path := filepath.Join(o.Dir, name)
		after.with(path, make([]byte, len(after[path]))).restore(t, o)
		s, keys, err := openStore(o)
		if err != nil {
			t.Fatal(err)
		}
		s.boot = "another boot"
		if err := s.with(context.Background(), func() error { return s.begin(keys) }); err != nil {
			t.Fatal(err)
		}
		s.close()
		if r := check(t, o); r.Size != 7 {
			t.Errorf("%s: %d records, want 7", name, r.Size)
		}
	}
}

func TestSegmentsRotateAndSurviveACrash(t *testing.T) {
	o := quickOptions(t)
	o.segmentBytes = 600
	ctx := context.Background()
	for i := range 12 {
		before := snapshot(nil)
		if i > 0 {
			before = takeSnapshot(t, o)
		}
		l := mustOpen(t, o)
		if err := l.Append(ctx, observe(fmt.Sprint("record ", i))); err != nil {
			t.Fatal(err)
		}
		l.Close()
		if before == nil {
			continue
		}
		// Die after the write: only the segments have it.
		after := takeSnapshot(t, o)
		for path, content := range after {
			if strings.HasSuffix(path, ".jsonl") {
				before[path] = content
			}
		}
		before.restore(t, o)
	}
	l := mustOpen(t, o)
	l.Close()
	got := notes(t, o)
	for i := range 12 {
		if want := fmt.Sprint("record ", i); got[i+1] != want {
			t.Errorf("record %d is %q, want %q", i+1, got[i+1], want)
		}
	}
	if segments, _ := verify.Segments(o.Dir); len(segments) < 3 {
		t.Errorf("%d segments, want several", len(segments))
	}
	check(t, o)
}

func startRun(t testing.TB, l *Log) carrel.RunID {
	t.Helper()
	run := carrel.NewRunID()
	if err := l.Append(context.Background(), carrel.Record{Kind: carrel.KindRunStart, Run: run, RunInfo: &carrel.RunInfo{Agent: "test"}}); err != nil {
		t.Fatal(err)
	}
	return run
}
