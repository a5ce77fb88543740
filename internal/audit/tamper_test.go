package audit

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/verify"
)

var tamperAll = flag.Bool("audit.tamper", false, "flip every bit of every byte, and cut at every length, not only some")

// tampered is what became of one kind of alteration of one file.
type tampered struct {
	tried, found, healed int
	missed               []string
}

// tampering alters the files of a log one by one.
type tampering struct {
	t     *testing.T
	o     Options
	key   string
	good  snapshot
	older snapshot // before the last records
	table map[string]map[string]*tampered
}

// A log of everything there is: two segments, a handed-on key, tiles.
func startTampering(t *testing.T) *tampering {
	o := optionsIn(filepath.Join(memoryDir(t), "x"))
	o.disk, o.segmentBytes = quickDisk{}, 1500
	ctx := context.Background()
	grow(t, o, 4)
	x := &tampering{t: t, o: o, key: publicKey(t, o), table: map[string]map[string]*tampered{}}
	l := mustOpen(t, o)
	run := startRun(t, l)
	if err := l.Append(ctx, intent(run)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.RotateKey(ctx); err != nil {
		t.Fatal(err)
	}
	l.Close()
	x.publish()
	x.older = takeSnapshot(t, o)
	grow(t, o, 9)
	x.publish()
	x.good = takeSnapshot(t, o)
	if err := x.check(); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *tampering) publish() {
	if _, err := PublishTiles(context.Background(), x.o.Dir, publicKey(x.t, x.o)); err != nil {
		x.t.Fatal(err)
	}
}

// check is what a stranger does who knows the first key and the newest
// checkpoint.
func (x *tampering) check() error {
	ctx := context.Background()
	newest, err := os.ReadFile(x.o.Second)
	if err != nil {
		return err
	}
	report, err := verify.Log(ctx, x.o.Dir, x.key, verify.Options{Newest: newest})
	if err != nil {
		return err
	}
	if report.Torn > 0 || report.Size < 9 {
		return errors.New("torn, or shorter")
	}
	_, err = verify.Tiles(ctx, filepath.Join(x.o.Dir, TilesDir), report.Key)
	return err
}

// heals reports whether the log's owner, opening the log and publishing it,
// makes it what it was.
func (x *tampering) heals() bool {
	l, err := Open(context.Background(), x.o)
	if err != nil {
		return false
	}
	_, err = l.Checkpoint(context.Background())
	if err = errors.Join(err, l.Close()); err != nil {
		return false
	}
	os.RemoveAll(filepath.Join(x.o.Dir, TilesDir))
	if _, err := PublishTiles(context.Background(), x.o.Dir, publicKey(x.t, x.o)); err != nil {
		return false
	}
	return x.check() == nil
}

// try says what became of one alteration, which is on the disk now. derived
// files may be anything, if opening makes them right again.
func (x *tampering) try(name, kind, what string, derived bool) {
	if x.table[name] == nil {
		x.table[name] = map[string]*tampered{}
	}
	if x.table[name][kind] == nil {
		x.table[name][kind] = &tampered{}
	}
	r := x.table[name][kind]
	r.tried++
	switch {
	case x.check() != nil:
		r.found++
	case derived && x.heals():
		r.healed++
		x.good.restore(x.t, x.o)
	default:
		r.missed = append(r.missed, what)
		x.good.restore(x.t, x.o)
	}
}

// Files that are not evidence: they are made again from what is.
var derivedFiles = []string{"tail", verify.HashesFile, verify.IndexFile, "checkpoint.head", "reserve", "lock", "turn", "tiles.lock"}

func (x *tampering) name(path string) string {
	name, _ := filepath.Rel(filepath.Dir(x.o.Dir), path)
	return filepath.ToSlash(name)
}

func (x *tampering) file(path string) {
	name, content := x.name(path), x.good[path]
	derived := slices.Contains(derivedFiles, filepath.Base(path))
	stride := 1
	if !*tamperAll {
		stride = 1 + len(content)/20
		if raced {
			stride *= 4
		}
	}
	put := func(b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			x.t.Fatal(err)
		}
	}
	for i := 0; i < len(content); i += stride {
		for bit := range 8 {
			if !*tamperAll && bit != i%8 {
				continue
			}
			altered := bytes.Clone(content)
			altered[i] ^= 1 << bit
			put(altered)
			x.try(name, "flipped", fmt.Sprintf("bit %d of byte %d", bit, i), derived)
		}
	}
	for n := 0; n < len(content); n += stride {
		put(content[:n])
		x.try(name, "cut", fmt.Sprint("at ", n), derived)
	}
	os.Remove(path)
	x.try(name, "dropped", "", derived || filepath.Base(path) == verify.CheckpointFile)
	for _, other := range slices.Sorted(maps.Keys(x.good)) {
		if other != path && !bytes.Equal(x.good[other], content) {
			put(x.good[other])
			x.try(name, "swapped", "with "+x.name(other), derived || sameStatement(path, other))
		}
	}
	if old, ok := x.older[path]; ok && !bytes.Equal(old, content) {
		put(old)
		x.try(name, "replayed", "", derived || filepath.Base(path) == verify.CheckpointFile)
	}
	put(content)
}

// sameStatement says that both are checkpoints: each is true of the log, and
// the newest of the three is what counts.
func sameStatement(path, other string) bool {
	return filepath.Base(path) == verify.CheckpointFile && filepath.Base(other) == verify.CheckpointFile
}

// lines alters whole records, and removes what is derived from them, so that
// only the signed tree can tell.
func (x *tampering) lines(path string) {
	name := x.name(path)
	lines := bytes.SplitAfter(x.good[path], []byte("\n"))
	lines = lines[:len(lines)-1]
	alter := func(kind string, i int, altered ...[]byte) {
		x.good.with(path, bytes.Join(altered, nil)).restore(x.t, x.o)
		for _, derived := range []string{verify.HashesFile, verify.IndexFile, "tail", TilesDir} {
			os.RemoveAll(filepath.Join(x.o.Dir, derived))
		}
		x.try(name, kind, fmt.Sprint("line ", i), false)
	}
	for i := range lines {
		alter("record dropped", i, slices.Delete(slices.Clone(lines), i, i+1)...)
		alter("record replayed", i, slices.Insert(slices.Clone(lines), i, lines[i])...)
		for j := range i {
			swapped := slices.Clone(lines)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			alter("records swapped", i, swapped...)
		}
	}
	x.good.restore(x.t, x.o)
}

// Whatever is altered of a log is found, or, where it is derived, made right
// again: every bit, every length, every file and record dropped, swapped with
// any other, or put back to what it was before. `make tamper` tries them all.
func TestTamper(t *testing.T) {
	x := startTampering(t)
	for _, path := range slices.Sorted(maps.Keys(x.good)) {
		if filepath.Dir(path) == x.o.KeyDir {
			continue
		}
		if base := filepath.Base(path); base == "reserve" || base == "lock" || base == "turn" || base == "tiles.lock" || x.stale(path) {
			continue // hold nothing, or what nothing names any more
		}
		x.file(path)
		if strings.HasSuffix(path, ".jsonl") {
			x.lines(path)
		}
	}
	x.wholesale()
	x.report()
}

// stale reports whether a file is a partial tile of an older checkpoint.
func (x *tampering) stale(path string) bool {
	if !strings.Contains(path, ".p"+string(filepath.Separator)) {
		return false
	}
	good := takeSnapshot(x.t, x.o)
	defer good.restore(x.t, x.o)
	os.Remove(path)
	_, err := verify.Tiles(context.Background(), filepath.Join(x.o.Dir, TilesDir), publicKey(x.t, x.o))
	return err == nil || errors.Is(err, fs.ErrNotExist)
}

// wholesale puts the whole directory back, and another log in its place.
func (x *tampering) wholesale() {
	state := snapshot{}
	for path, content := range x.good {
		if !strings.HasPrefix(path, x.o.Dir+string(filepath.Separator)) {
			state[path] = content
		}
	}
	back := maps.Clone(state)
	for path, content := range x.older {
		if strings.HasPrefix(path, x.o.Dir+string(filepath.Separator)) {
			back[path] = content
		}
	}
	back.restore(x.t, x.o)
	x.try("log", "replayed", "", false)
	other := quickOptions(x.t)
	grow(x.t, other, 9)
	foreign := maps.Clone(state)
	for path, content := range takeSnapshot(x.t, other) {
		if rest, ok := strings.CutPrefix(path, other.Dir); ok {
			foreign[x.o.Dir+rest] = content
		}
	}
	foreign.restore(x.t, x.o)
	x.try("log", "swapped", "with another log", false)
	x.good.restore(x.t, x.o)
}

func (x *tampering) report() {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-44s %-16s %8s %8s %8s %8s\n", "file", "alteration", "tried", "found", "healed", "missed")
	var sum tampered
	for _, name := range slices.Sorted(maps.Keys(x.table)) {
		for _, kind := range slices.Sorted(maps.Keys(x.table[name])) {
			r := x.table[name][kind]
			fmt.Fprintf(&b, "%-44s %-16s %8d %8d %8d %8d\n", name, kind, r.tried, r.found, r.healed, len(r.missed))
			sum.tried, sum.found, sum.healed = sum.tried+r.tried, sum.found+r.found, sum.healed+r.healed
			for _, what := range r.missed[:min(len(r.missed), 5)] {
				x.t.Errorf("%s %s %s: not found", name, kind, what)
			}
		}
	}
	fmt.Fprintf(&b, "%-44s %-16s %8d %8d %8d %8d\n", "all", "", sum.tried, sum.found, sum.healed, sum.tried-sum.found-sum.healed)
	x.t.Log(b.String())
}
