package audit

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/verify"
)

var (
	crashPoints = flag.Int("audit.crashes", 250, "crash points of the randomised test")
	crashSeed   = flag.Uint64("audit.seed", 1, "its seed")
)

// journalDisk does everything in memory and keeps what was done, so that the
// state of the disk after a crash at any of the calls can be made.
type journalDisk struct {
	quickDisk
	mu    sync.Mutex // guards what follows
	calls []call
	names map[string]int // of files, by number
	files int
}

// call is one call that changes the disk, or an answer to who waits.
type call struct {
	op     string // create, write, truncate, sync, rename, remove, syncdir; start, ack; retain, retained
	file   int
	path   string
	to     string
	data   []byte
	offset int64
}

func (d *journalDisk) add(c call) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, c)
}

func (d *journalDisk) open(path string, flag int) (file, error) {
	f, err := d.quickDisk.open(path, flag)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n, known := d.names[path]
	if !known {
		d.files++
		n = d.files
		d.names[path] = n
		d.calls = append(d.calls, call{op: "create", file: n, path: path})
	} else if flag&os.O_TRUNC != 0 {
		d.calls = append(d.calls, call{op: "truncate", file: n})
	}
	return &journalFile{f, d, n}, nil
}

func (d *journalDisk) rename(from, to string) error {
	d.mu.Lock()
	d.names[to] = d.names[from]
	delete(d.names, from)
	d.calls = append(d.calls, call{op: "rename", file: d.names[to], path: from, to: to})
	d.mu.Unlock()
	return d.quickDisk.rename(from, to)
}

func (d *journalDisk) remove(path string) error {
	d.mu.Lock()
	delete(d.names, path)
	d.calls = append(d.calls, call{op: "remove", path: path})
	d.mu.Unlock()
	return d.quickDisk.remove(path)
}

func (d *journalDisk) syncDir(path string) error {
	d.add(call{op: "syncdir", path: path})
	return nil
}

type journalFile struct {
	file
	disk *journalDisk
	n    int
}

func (f *journalFile) WriteAt(b []byte, off int64) (int, error) {
	f.disk.add(call{op: "write", file: f.n, data: slices.Clone(b), offset: off})
	return f.file.WriteAt(b, off)
}

func (f *journalFile) Truncate(size int64) error {
	f.disk.add(call{op: "truncate", file: f.n, offset: size})
	return f.file.Truncate(size)
}

func (f *journalFile) sync() error {
	f.disk.add(call{op: "sync", file: f.n})
	return nil
}

// state is a disk as a crash leaves it: what is on it, and what may be.
type state struct {
	contents map[int][]byte
	pending  map[int][]call
	names    map[string]int
	renames  []call
}

// after returns the files as a crash after the first n calls leaves them. A
// killed process loses nothing but the end of the write it was in. A power cut
// loses any part of what was not synced: whole writes, sectors of them, names.
func (d *journalDisk) after(n int, power bool, r *rand.Rand) snapshot {
	s := state{map[int][]byte{}, map[int][]call{}, map[string]int{}, nil}
	for i, c := range d.calls[:n] {
		if !power && i == n-1 && c.op == "write" {
			c.data = c.data[:r.IntN(len(c.data)+1)]
		}
		s.do(c, !power)
	}
	if power {
		s.lose(r)
	}
	out := snapshot{}
	for name, file := range s.names {
		out[name] = s.contents[file]
	}
	return out
}

// do takes one call into account; durable says that nothing gets lost.
func (s *state) do(c call, durable bool) {
	switch c.op {
	case "create", "rename", "remove":
		if s.renames = append(s.renames, c); durable {
			s.settle(func(call) bool { return true })
		}
	case "syncdir":
		s.settle(func(p call) bool { return filepath.Dir(p.path) == c.path })
	case "write", "truncate", "sync":
		if c.op != "sync" {
			s.pending[c.file] = append(s.pending[c.file], c)
		}
		if c.op == "sync" || durable {
			for _, p := range s.pending[c.file] {
				s.contents[c.file] = p.onto(s.contents[c.file], nil)
			}
			s.pending[c.file] = nil
		}
	}
}

// settle makes the pending names that match durable.
func (s *state) settle(match func(call) bool) {
	var rest []call
	for _, c := range s.renames {
		if !match(c) {
			rest = append(rest, c)
			continue
		}
		switch c.op {
		case "create":
			s.names[c.path] = c.file
		case "rename":
			delete(s.names, c.path)
			s.names[c.to] = c.file
		case "remove":
			delete(s.names, c.path)
		}
	}
	s.renames = rest
}

// onto applies a write or a truncation. With r a write loses some sectors.
func (c call) onto(b []byte, r *rand.Rand) []byte {
	end := int(c.offset) + len(c.data)
	if c.op == "truncate" {
		end = int(c.offset)
		b = b[:min(len(b), end)]
	}
	b = append(slices.Clone(b), make([]byte, max(0, end-len(b)))...)
	const sector = 512
	for from := 0; from < len(c.data); {
		to := min(len(c.data), from+sector-(int(c.offset)+from)%sector)
		if r == nil || r.IntN(3) > 0 {
			copy(b[int(c.offset)+from:], c.data[from:to])
		}
		from = to
	}
	return b
}

// lose decides what of the pending calls reached the disk.
func (s *state) lose(r *rand.Rand) {
	keep := chooser(r, len(s.renames))
	i := -1
	s.settle(func(call) bool { i++; return keep(i) })
	for _, file := range slices.Sorted(maps.Keys(s.pending)) {
		calls := s.pending[file]
		keep := chooser(r, len(calls))
		var torn *rand.Rand
		if r.IntN(2) == 0 {
			torn = r
		}
		for i, c := range calls {
			if keep(i) {
				s.contents[file] = c.onto(s.contents[file], torn)
			}
		}
	}
}

// chooser says of n pending calls which survive: none, all, the first ones, or
// any.
func chooser(r *rand.Rand, n int) func(i int) bool {
	switch mode, some := r.IntN(4), r.IntN(n+1); mode {
	case 0:
		return func(int) bool { return false }
	case 1:
		return func(int) bool { return true }
	case 2:
		return func(i int) bool { return i < some }
	}
	return func(int) bool { return r.IntN(2) == 0 }
}

// journey is what one log went through.
type journey struct {
	o     Options
	disk  *journalDisk
	keys  []string
	notes int
}

// travel opens a log for the first time and does this and that with it.
func travel(t *testing.T, o Options, r *rand.Rand) *journey {
	t.Helper()
	ctx := context.Background()
	j := &journey{o: o, disk: &journalDisk{names: map[string]int{}}}
	j.o.disk, j.o.segmentBytes, j.o.boot = j.disk, 1500, "one"
	l := mustOpen(t, j.o)
	j.keys = append(j.keys, publicKey(t, j.o))
	for range 30 {
		var err error
		switch r.IntN(11) {
		default:
			err = j.say(func(rec carrel.Record) error { return l.Append(ctx, rec) }, true)
		case 0:
			for range 1 + r.IntN(5) {
				err = errors.Join(err, j.say(func(rec carrel.Record) error { return l.Enqueue(ctx, rec) }, false))
			}
			err = errors.Join(err, l.Flush(ctx))
		case 1, 2:
			_, err = l.Checkpoint(ctx)
		case 3:
			err = j.publish(l)
		case 4:
			var key string
			key, _, err = l.RotateKey(ctx)
			j.keys = append(j.keys, key)
		case 6:
			minimum := r.Int64N(2) // the first record is not one of the notes
			j.disk.add(call{op: "retain", offset: minimum})
			err = l.Retain(ctx, minimum)
			j.disk.add(call{op: "retained", offset: minimum})
		case 5:
			err = l.Close()
			l = mustOpen(t, j.o)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return j
}

// say records a note of its own and remembers whether it was acknowledged.
func (j *journey) say(record func(carrel.Record) error, waits bool) error {
	j.notes++
	note := fmt.Sprint("note ", j.notes, strings.Repeat(" and more", j.notes%40))
	j.disk.add(call{op: "start", path: note})
	err := record(observe(note))
	if err == nil && waits {
		j.disk.add(call{op: "ack", path: note})
	}
	return err
}

func (j *journey) publish(l *Log) error {
	if _, err := l.Checkpoint(context.Background()); err != nil {
		return err
	}
	_, err := (&Reader{j.o.Dir, j.disk}).publish(context.Background(), j.keys[len(j.keys)-1])
	return err
}

// said returns the notes that were begun, and those acknowledged, in n calls.
func (j *journey) said(n int) (started, acknowledged []string) {
	for _, c := range j.disk.calls[:n] {
		switch c.op {
		case "start":
			started = append(started, c.path)
		case "ack":
			acknowledged = append(acknowledged, c.path)
		}
	}
	return started, acknowledged
}

// minimums returns what may be the first record that is shown after n calls:
// what was acknowledged last, or what was begun since.
func (j *journey) minimums(n int) []int64 {
	out := []int64{0}
	for _, c := range j.disk.calls[:n] {
		switch c.op {
		case "retain":
			out = append(out, c.offset)
		case "retained":
			out = []int64{c.offset}
		}
	}
	return out
}

// survive checks a log after a crash: published tiles are whole, nothing that
// was acknowledged is lost and nothing is invented, it goes on, and is right
// by the first key it had.
func (j *journey) survive(t *testing.T, n int, power bool, r *rand.Rand) error {
	ctx := context.Background()
	j.disk.after(n, power, r).restore(t, j.o)
	o := j.o
	if o.disk = (quickDisk{}); power {
		o.boot = "two"
	}
	if err := j.tilesAreWhole(o); err != nil {
		return fmt.Errorf("tiles: %w", err)
	}
	l, err := Open(ctx, o)
	if err != nil {
		return err
	}
	if err := l.Append(ctx, observe("later")); err != nil {
		return errors.Join(err, l.Close())
	}
	if _, err := l.Checkpoint(ctx); err != nil {
		return errors.Join(err, l.Close())
	}
	if err := l.Close(); err != nil {
		return err
	}
	started, acknowledged := j.said(n)
	if err := compareNotes(notes(t, o), started, acknowledged); err != nil {
		return err
	}
	if minimum, err := OpenReader(o.Dir).Minimum(); err != nil || !slices.Contains(j.minimums(n), minimum) {
		return fmt.Errorf("records are shown from %d, not from one of %v: %v", minimum, j.minimums(n), err)
	}
	key := publicKey(t, o)
	if _, err := OpenReader(o.Dir).publish(ctx, key); err != nil {
		return fmt.Errorf("publishing later: %w", err)
	}
	if _, err := verify.Tiles(ctx, filepath.Join(o.Dir, TilesDir), key); err != nil {
		return fmt.Errorf("tiles later: %w", err)
	}
	if len(acknowledged) > 0 {
		key = j.keys[0]
	}
	newest, err := os.ReadFile(o.Second)
	if err != nil {
		return err
	}
	_, err = verify.Log(ctx, o.Dir, key, verify.Options{Newest: newest})
	return err
}

// tilesAreWhole checks what was published before the crash, by any key.
func (j *journey) tilesAreWhole(o Options) error {
	var err error
	for _, key := range j.keys {
		_, err = verify.Tiles(context.Background(), filepath.Join(o.Dir, TilesDir), key)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	return err
}

func compareNotes(got, started, acknowledged []string) error {
	count := map[string]int{}
	for _, note := range got {
		count[note]++
	}
	for _, note := range acknowledged {
		if count[note] != 1 {
			return fmt.Errorf("%q was acknowledged and is there %d times", note, count[note])
		}
	}
	for note, n := range count {
		if strings.HasPrefix(note, "note ") && (n > 1 || !slices.Contains(started, note)) {
			return fmt.Errorf("%q is there %d times, and was begun: %v", note, n, slices.Contains(started, note))
		}
	}
	return nil
}

// A log is followed through its life and crashes at every call it makes, and
// at random ones again: the process is killed, or the power cut.
func TestCrashesAnywhere(t *testing.T) {
	r := rand.New(rand.NewPCG(*crashSeed, 7))
	o := optionsIn(filepath.Join(memoryDir(t), "x"))
	kills, cuts, journeys := 0, 0, 0
	if raced {
		*crashPoints = min(*crashPoints, 50)
	}
	for kills+cuts < *crashPoints {
		j := travel(t, o, r)
		journeys++
		for i := range min(*crashPoints-kills-cuts, 2*len(j.disk.calls)) {
			n, power := i%(len(j.disk.calls)+1), r.IntN(3) > 0
			if *crashPoints < len(j.disk.calls) {
				n = r.IntN(len(j.disk.calls) + 1)
			}
			if power {
				cuts++
			} else {
				kills++
			}
			if err := j.survive(t, n, power, r); err != nil {
				last := call{}
				if n > 0 {
					last = j.disk.calls[n-1]
				}
				t.Fatalf("seed %d, journey %d, crash after %d of %d calls (%s %s), power cut %v: %v", *crashSeed, journeys, n, len(j.disk.calls), last.op, last.path, power, err)
			}
		}
		if err := os.RemoveAll(filepath.Dir(o.Dir)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d crash points in %d journeys: %d kills, %d power cuts", kills+cuts, journeys, kills, cuts)
}
