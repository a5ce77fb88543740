package audit

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
)

// The test binary is its own child: with -audit.child it appends to the log
// below that directory and says on stdout what was acknowledged.
var (
	childRoot    = flag.String("audit.child", "", "append to the log below this directory")
	childWriters = flag.Int("audit.writers", 1, "writers of a child")
	childRecords = flag.Int("audit.records", 0, "records a writer appends; 0: without end")
	killRounds   = flag.Int("audit.kills", 40, "how often a child is killed")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *childRoot != "" {
		if err := child(*childRoot, *childWriters, *childRecords); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func optionsBelow(root string) Options {
	return Options{Dir: filepath.Join(root, "log"), KeyDir: filepath.Join(root, "keys"), Second: filepath.Join(root, "second", "checkpoint"), segmentBytes: 40 << 10}
}

// child is one run with some writers. A line on stdout is one write, so that
// a kill leaves whole lines.
func child(root string, writers, records int) error {
	ctx := context.Background()
	l, err := Open(ctx, optionsBelow(root))
	if err != nil {
		return err
	}
	run := carrel.NewRunID()
	if err := l.Append(ctx, carrel.Record{Kind: carrel.KindRunStart, Run: run, RunInfo: &carrel.RunInfo{}}); err != nil {
		return err
	}
	errs := make(chan error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := 0; records == 0 || i < records; i++ {
				text := fmt.Sprintf("%s-%d-%d", run, w, i)
				if i%3 == 2 {
					if err := l.Enqueue(ctx, carrel.Record{Kind: carrel.KindObservation, Run: run, Note: "enqueued"}); err != nil {
						errs <- err
						return
					}
				}
				if err := l.Append(ctx, carrel.Record{Kind: carrel.KindObservation, Run: run, Note: carrel.Text(text)}); err != nil {
					errs <- err
					return
				}
				os.Stdout.WriteString(text + "\n")
			}
		})
	}
	wg.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return err
	}
	if err := l.Append(ctx, carrel.Record{Kind: carrel.KindRunEnd, Run: run, RunInfo: &carrel.RunInfo{}}); err != nil {
		return err
	}
	if _, err := l.Checkpoint(ctx); err != nil {
		return err
	}
	return l.Close()
}

func startChild(t *testing.T, root string, stdout io.Writer, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"-audit.child=" + root}, args...)...)
	cmd.Stdout, cmd.Stderr = stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// allNotes returns how often each note is in the log.
func allNotes(t *testing.T, o Options) map[string]int {
	t.Helper()
	count := map[string]int{}
	for _, n := range notes(t, o) {
		count[n]++
	}
	return count
}

// Writers are killed at random moments, one after another and two at a time.
// What was acknowledged stays, nothing occurs twice, and the log stays right.
func TestKilledWriters(t *testing.T) {
	root := t.TempDir()
	o := optionsBelow(root)
	var acknowledged bytes.Buffer
	var mu sync.Mutex
	out := writerFunc(func(b []byte) (int, error) { mu.Lock(); defer mu.Unlock(); return acknowledged.Write(b) })
	for round := range *killRounds {
		children := []*exec.Cmd{startChild(t, root, out, "-audit.writers=4"), startChild(t, root, out, "-audit.writers=2")}
		for i, c := range children {
			if round%2 == 1 && i == 0 { // in the middle of its work, however slow the machine is
				awaitMore(&mu, &acknowledged)
			}
			time.Sleep(time.Duration(rand.IntN(25)) * time.Millisecond)
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = c.Wait() // killed
		}
	}
	l := mustOpen(t, o)
	if _, err := l.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	l.Close()
	r := check(t, o)
	count := allNotes(t, o)
	n := 0
	for s := bufio.NewScanner(&acknowledged); s.Scan(); n++ {
		if count[s.Text()] != 1 {
			t.Errorf("%q was acknowledged and is there %d times", s.Text(), count[s.Text()])
		}
	}
	t.Logf("%d kills, %d records acknowledged, %d in the log, %d runs left open", 2**killRounds, n, r.Size, len(r.Open))
	if n == 0 {
		t.Error("no record was acknowledged before a kill: the test proves nothing")
	}
}

// awaitMore waits until something more was written, but not for ever.
func awaitMore(mu *sync.Mutex, b *bytes.Buffer) {
	size := func() int { mu.Lock(); defer mu.Unlock(); return b.Len() }
	for before, end := size(), time.Now().Add(10*time.Second); size() == before && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// Eight processes with four writers each.
func TestManyProcessesAppendAtOnce(t *testing.T) {
	root := t.TempDir()
	o := optionsBelow(root)
	const processes, writers, records = 8, 4, 20
	var children []*exec.Cmd
	for range processes {
		children = append(children, startChild(t, root, io.Discard, fmt.Sprint("-audit.writers=", writers), fmt.Sprint("-audit.records=", records)))
	}
	for _, c := range children {
		if err := c.Wait(); err != nil {
			t.Errorf("child: %v", err)
		}
	}
	r := check(t, o)
	if r.Runs != processes || len(r.Open) != 0 || r.Unsigned != 0 {
		t.Errorf("%d runs closed, %d open, %d records unsigned; want %d, 0, 0", r.Runs, len(r.Open), r.Unsigned, processes)
	}
	appended := 0
	for note, n := range allNotes(t, o) {
		if strings.HasPrefix(note, "run_") {
			appended++
			if n != 1 {
				t.Errorf("%q is there %d times", note, n)
			}
		}
		if strings.HasPrefix(note, "recovered") || strings.HasPrefix(note, "the second place") {
			t.Errorf("unexpected record: %q", note)
		}
	}
	if appended != processes*writers*records {
		t.Errorf("%d records, want %d", appended, processes*writers*records)
	}
}
