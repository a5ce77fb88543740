//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/audit"
	"github.com/carrel-dev/carrel/verify"
)

// appended is what one measurement of durable appends gave; times in
// milliseconds.
type appended struct {
	Rate float64 `json:"rate"`
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
}

// logged is one store, measured by a program of its own.
type logged struct {
	name    string
	writers []int
	args    []string // before writers, seconds and directory
	missing string
	figures map[int][]appended
}

const appendSeconds = 2

// log measures durable appends, interleaved, and how fast a log is checked.
func (b *bench) log() error {
	appenders := b.path("appenders")
	if out, err := exec.Command("go", "build", "-C", "bench/appenders", "-o", appenders, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: the other stores are left out: %v: %s\n", err, tail(string(out)))
	}
	all := []int{1, 16, 64}
	stores := []*logged{
		{name: "raw 4 KiB append + fdatasync", writers: []int{1}, args: []string{b.self, "append", "raw"}},
		{name: "carrel", writers: all, args: []string{b.self, "append", "carrel"}},
		{name: "SQLite, WAL, FULL, grouped", writers: all, args: []string{appenders, "sqlite"}},
		{name: "PostgreSQL", writers: all, args: []string{appenders, "postgresql"}},
		{name: "Tessera POSIX, default", writers: []int{64}, args: []string{appenders, "tessera default"}},
		{name: "Tessera POSIX, batch 64, 5 ms", writers: all, args: []string{appenders, "tessera tuned"}},
	}
	for range max(3, b.o.n/7) {
		for _, s := range stores {
			b.append(s)
		}
	}
	b.printAppends(stores)
	return b.verifyLog()
}

// append measures one store once with each number of writers.
func (b *bench) append(s *logged) {
	for _, writers := range s.writers {
		if s.missing != "" {
			return
		}
		dir, err := os.MkdirTemp(b.dir, "append-")
		if err != nil {
			s.missing = err.Error()
			return
		}
		var a appended
		cmd := exec.Command(s.args[0], append(s.args[1:], strconv.Itoa(writers), strconv.Itoa(appendSeconds), dir)...)
		out, err := cmd.Output()
		if err == nil {
			err = json.Unmarshal(out, &a)
		}
		_ = os.RemoveAll(dir)
		if err != nil {
			s.missing = err.Error()
			return
		}
		if s.figures == nil {
			s.figures = map[int][]appended{}
		}
		s.figures[writers] = append(s.figures[writers], a)
	}
}

func (s *logged) median(writers int, of func(appended) float64) float64 {
	var all sample
	for _, a := range s.figures[writers] {
		all = append(all, of(a))
	}
	return all.median()
}

func (b *bench) printAppends(stores []*logged) {
	rate := func(a appended) float64 { return a.Rate }
	t := table{Title: "Durable appends of 500 bytes, per second", Columns: []string{"1 writer", "16 writers", "64 writers", "p50 ms (64)", "p99 ms (64)"}}
	for _, s := range stores {
		r := row{Name: s.name, Missing: s.missing, Figures: map[string]float64{}}
		for i, writers := range []int{1, 16, 64} {
			if v := s.median(writers, rate); v > 0 {
				r.Figures[t.Columns[i]] = v
			}
		}
		last := slices.Max(s.writers)
		r.Figures["p50 ms (64)"] = s.median(last, func(a appended) float64 { return a.P50 })
		r.Figures["p99 ms (64)"] = s.median(last, func(a appended) float64 { return a.P99 })
		t.Rows = append(t.Rows, r)
	}
	b.print(t)
}

// appendTo is one measurement, in a process of its own.
func appendTo(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("usage: append STORE WRITERS SECONDS DIR")
	}
	writers, err := strconv.Atoi(args[1])
	seconds, err2 := strconv.Atoi(args[2])
	if err != nil || err2 != nil {
		return fmt.Errorf("no numbers in %q", args)
	}
	do, done, err := rawAppend(args[3])
	if args[0] == "carrel" {
		do, done, err = carrelAppend(args[3])
	}
	if err != nil {
		return err
	}
	length := time.Duration(seconds) * time.Second
	took := make([]sample, writers)
	start := time.Now()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for time.Since(start) < length {
				began := time.Now()
				if do() != nil {
					return // done says why
				}
				took[w] = append(took[w], float64(time.Since(began).Microseconds())/1000)
			}
		})
	}
	wg.Wait()
	passed := time.Since(start)
	if err := done(); err != nil {
		return err
	}
	all := slices.Concat(took...)
	return json.NewEncoder(os.Stdout).Encode(appended{float64(len(all)) / passed.Seconds(), all.at(0.5), all.at(0.99)})
}

func rawAppend(dir string) (do, done func() error, err error) {
	f, err := os.Create(filepath.Join(dir, "raw"))
	block := make([]byte, 4096)
	do = func() error {
		if _, err := f.Write(block); err != nil {
			return err
		}
		return unix.Fdatasync(int(f.Fd()))
	}
	return do, f.Close, err
}

func carrelAppend(dir string) (do, done func() error, err error) {
	ctx := context.Background()
	l, err := openBenchLog(dir)
	if err != nil {
		return nil, nil, err
	}
	r := benchRecord()
	if err := l.Append(ctx, carrel.Record{Kind: carrel.KindRunStart, Run: r.Run, RunInfo: &carrel.RunInfo{}}); err != nil {
		return nil, nil, err
	}
	return func() error { return l.Append(ctx, r) }, l.Close, nil
}

func openBenchLog(dir string) (*audit.Log, error) {
	return audit.Open(context.Background(), audit.Options{Dir: filepath.Join(dir, "log"), KeyDir: filepath.Join(dir, "keys"), Second: filepath.Join(dir, "second", "checkpoint")})
}

// benchRecord is an intent, as the gate writes most of.
func benchRecord() carrel.Record {
	run := carrel.NewRunID()
	a := carrel.Action{ID: carrel.NewActionID(), Run: run, Operation: carrel.OpConnect, Host: "api.example.test", Port: 443, Protocol: carrel.ProtoTLS}
	digest, _ := a.Digest()
	return carrel.Record{Kind: carrel.KindIntent, Run: run, Action: &a, ActionDigest: digest,
		Decision: &carrel.Decision{Verdict: carrel.Allow, Rules: []string{"user/egress"}, Policy: digest, Input: digest}}
}

// verifyLog checks a log of a million records.
func (b *bench) verifyLog() error {
	const records = 1_000_000
	ctx := context.Background()
	dir := b.path("million")
	l, err := openBenchLog(dir)
	if err != nil {
		return err
	}
	intent := benchRecord()
	for range records / 2 { // every action has its result
		a := *intent.Action
		a.ID = carrel.NewActionID()
		intent.Action = &a
		result := carrel.Record{Kind: carrel.KindResult, Run: intent.Run, Action: &carrel.Action{ID: a.ID, Run: a.Run, Operation: a.Operation},
			ActionDigest: intent.ActionDigest, Outcome: &carrel.Outcome{Status: carrel.OutcomeDone, Counts: map[string]int64{"bytes_in": 1234, "bytes_out": 567}}}
		if err := errors.Join(l.Enqueue(ctx, intent), l.Enqueue(ctx, result)); err != nil {
			return err
		}
	}
	if _, err := l.Checkpoint(ctx); err != nil {
		return err
	}
	if err := l.Close(); err != nil {
		return err
	}
	key, err := audit.PublicKey(filepath.Join(dir, "keys"))
	if err != nil {
		return err
	}
	var rates sample
	for range 5 {
		start := time.Now()
		report, err := verify.Log(ctx, filepath.Join(dir, "log"), key, verify.Options{})
		if err != nil {
			return err
		}
		rates = append(rates, float64(report.Checked)/time.Since(start).Seconds())
	}
	b.print(table{Title: "Checking a log of a million records", Columns: []string{"records/s"}, Rows: []row{{Name: "carrel log verify", Figures: map[string]float64{"records/s": rates.median()}}}})
	return os.RemoveAll(dir)
}
