package workspace

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
)

// bigSite is a tree of many small files, a thousand directories deep enough to
// be a real project's.
func bigSite(b *testing.B, files int) *site {
	b.Helper()
	s := &site{root: b.TempDir(), state: b.TempDir(), kind: StagingOverlay}
	for i := range files {
		dir := filepath.Join(s.root, fmt.Sprintf("d%02d/e%02d", i%50, i/50%20))
		if i < 1000 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%d.go", i)), fmt.Appendf(nil, "package p%d\n\nfunc f() int { return %d }\n", i, i), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// BenchmarkTake measures sitting down at a workspace of 50,000 files.
func BenchmarkTake(b *testing.B) {
	for _, fresh := range []bool{true, false} {
		b.Run(fmt.Sprintf("fresh=%v", fresh), func(b *testing.B) {
			s := bigSite(b, 50_000)
			w := s.openB(b)
			for b.Loop() {
				seat, err := w.Take(context.Background(), SeatOptions{Agent: "a", Fresh: fresh})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := seat.Capture(context.Background(), CaptureOptions{}); err != nil {
					b.Fatal(err)
				}
				seat.Close()
			}
		})
	}
}

// BenchmarkCapture measures freezing 10,000 changed files of 50,000.
func BenchmarkCapture(b *testing.B) {
	s := bigSite(b, 50_000)
	w := s.openB(b)
	seat, err := w.Take(context.Background(), SeatOptions{Agent: "a"})
	if err != nil {
		b.Fatal(err)
	}
	defer seat.Close()
	up := seat.Layers()[0].Upper
	for i := range 10_000 {
		dir := filepath.Join(up, fmt.Sprintf("d%02d/e%02d", i%50, i/50%20))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%d.go", i)), fmt.Appendf(nil, "package p%d\n\n// changed\nfunc f() int { return %d }\n", i, i), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		c, err := seat.Capture(context.Background(), CaptureOptions{Decide: allowAll, Running: true})
		if err != nil {
			b.Fatal(err)
		}
		if len(c.Files) != 10_000 {
			b.Fatalf("%d files", len(c.Files))
		}
		if err := os.RemoveAll(filepath.Join(s.state, "blobs")); err != nil {
			b.Fatal(err)
		}
		s.ws = nil
		*w = *s.openB(b)
	}
}

// BenchmarkApply measures putting 10,000 changed files of 50,000 into the tree.
func BenchmarkApply(b *testing.B) {
	s := bigSite(b, 50_000)
	w := s.openB(b)
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		seat, err := w.Take(context.Background(), SeatOptions{Agent: "a", Fresh: true})
		if err != nil {
			b.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		up := seat.Layers()[0].Upper
		for i := range 10_000 {
			dir := filepath.Join(up, fmt.Sprintf("d%02d/e%02d", i%50, i/50%20))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%d.go", i)), fmt.Appendf(nil, "package p%d\n\n// changed %d\nfunc f() int { return %d }\n", i, n, i), 0o644); err != nil {
				b.Fatal(err)
			}
		}
		c, err := seat.Capture(context.Background(), CaptureOptions{Decide: allowAll})
		if err != nil || len(c.Files) != 10_000 {
			b.Fatal(len(c.Files), err)
		}
		unix.Sync()
		b.StartTimer()
		last, spent := time.Now(), map[string]time.Duration{}
		kind := "plan"
		lap := func(next string) error {
			spent[kind] += time.Since(last)
			last, kind = time.Now(), next
			return nil
		}
		p, err := planApply(context.Background(), ApplyOptions{Change: c, Blobs: w.opts.Blobs, State: s.state, at: lap})
		if err != nil {
			b.Fatal(err)
		}
		j, err := p.carryOut(context.Background(), carrel.NewActionID())
		if err == nil {
			err = j.tidy(p.tree, nil)
		}
		if err != nil {
			b.Fatal(err)
		}
		_ = lap("")
		b.Log(spent)
		p.tree.Close()
		b.StopTimer()
		seat.Close()
		b.StartTimer()
	}
}
