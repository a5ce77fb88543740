package audit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/verify"
)

func openError(t testing.TB, o Options) error {
	t.Helper()
	l, err := Open(context.Background(), o)
	if err == nil {
		l.Close()
	}
	return err
}

// appendAll opens the log, appends and checkpoints, and closes it.
func appendAll(t testing.TB, o Options, texts ...string) {
	t.Helper()
	l := mustOpen(t, o)
	for _, text := range texts {
		if err := l.Append(context.Background(), observe(text)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// onlyDir replaces the log's directory by that of another snapshot.
func (s snapshot) onlyDir(from snapshot, o Options) snapshot {
	out := snapshot{}
	for path, content := range s {
		if filepath.Dir(path) != o.Dir {
			out[path] = content
		}
	}
	for path, content := range from {
		if filepath.Dir(path) == o.Dir {
			out[path] = content
		}
	}
	return out
}

// A checkpoint that is kept nowhere is as right as one that is, and alters
// nothing.
func TestStandIsKeptNowhere(t *testing.T) {
	o := quickOptions(t)
	appendAll(t, o, "one")
	kept, err := os.ReadFile(o.Second)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	l := mustOpen(t, o)
	defer l.Close()
	if err := l.Append(ctx, observe("two")); err != nil {
		t.Fatal(err)
	}
	signed, err := l.Stand(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c, err := verify.OpenCheckpoint(signed, publicKey(t, o))
	if size, root := l.Head(); err != nil || c.Size != size || c.Root != root {
		t.Errorf("%+v, %v; the log has %d records", c, err, size)
	}
	for _, path := range []string{o.Second, filepath.Join(o.Dir, verify.CheckpointFile)} {
		if now, err := os.ReadFile(path); err != nil || string(now) != string(kept) {
			t.Errorf("%s was altered: %v", path, err)
		}
	}
}

func TestRolledBackLogIsRefused(t *testing.T) {
	o := quickOptions(t)
	appendAll(t, o, "one")
	old := takeSnapshot(t, o)
	appendAll(t, o, "two")
	current := takeSnapshot(t, o)

	current.restore(t, o)
	if err := openError(t, o); err != nil {
		t.Fatalf("the log itself: %v", err)
	}
	for name, state := range map[string]snapshot{
		"with head and checkpoint":  current.onlyDir(old, o),
		"with the checkpoint alone": current.onlyDir(old, o).with(o.Second+".head", nil),
		"with the head alone":       current.onlyDir(old, o).with(o.Second, old[o.Second]),
		"emptied":                   current.onlyDir(snapshot{}, o),
	} {
		state.restore(t, o)
		if err := openError(t, o); !errors.Is(err, ErrRolledBack) {
			t.Errorf("%s: %v, want ErrRolledBack", name, err)
		}
		key, _ := PublicKey(o.KeyDir)
		_, err := verify.Log(context.Background(), o.Dir, key, verify.Options{Newest: current[o.Second]})
		var fault *verify.Fault
		if !errors.As(err, &fault) {
			t.Errorf("%s: verify says %v, want a fault", name, err)
		}
	}
}

func TestRollbackIsAcceptedOnceAndRecorded(t *testing.T) {
	o := quickOptions(t)
	appendAll(t, o, "one")
	old := takeSnapshot(t, o)
	appendAll(t, o, "two", "three")
	takeSnapshot(t, o).onlyDir(old, o).restore(t, o)

	if _, err := Recover(context.Background(), o, false); !errors.Is(err, ErrRolledBack) {
		t.Fatalf("without acceptance: %v", err)
	}
	if err := openError(t, o); !errors.Is(err, ErrRolledBack) {
		t.Fatalf("after a refused recovery: %v", err)
	}
	rec, err := Recover(context.Background(), o, true)
	if err != nil {
		t.Fatal(err)
	}
	if rec.Known != 4 || rec.Size != 3 || rec.Accepted == "" {
		t.Errorf("recovery is %+v", rec)
	}
	appendAll(t, o, "four")
	check(t, o)
	got := strings.Join(notes(t, o), "\n")
	if !strings.Contains(got, "accepted") || !strings.Contains(got, "four") || strings.Contains(got, "two") {
		t.Errorf("records are %q", got)
	}
	kept, _ := filepath.Glob(o.Second + ".refused-*")
	if len(kept) != 2 {
		t.Errorf("kept %q of the second place, want checkpoint and head", kept)
	}
}

// Another log, grown longer, in the place of this one.
func TestReplacedLogIsRefused(t *testing.T) {
	o, other := quickOptions(t), quickOptions(t)
	appendAll(t, o, "one")
	appendAll(t, other, "one", "two", "three")
	if err := os.RemoveAll(o.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(o.Dir, os.DirFS(other.Dir)); err != nil {
		t.Fatal(err)
	}
	chmodAll(t, o.Dir)
	if err := openError(t, o); !errors.Is(err, ErrRolledBack) {
		t.Errorf("records of another log: %v", err)
	}
	if err := os.Remove(filepath.Join(o.Dir, "tail")); err != nil {
		t.Fatal(err)
	}
	if err := openError(t, o); !errors.Is(err, ErrRolledBack) {
		t.Errorf("records of another log, without a tail: %v", err)
	}
	key, _ := PublicKey(o.KeyDir)
	if _, err := verify.Log(context.Background(), o.Dir, key, verify.Options{}); err == nil {
		t.Error("verify accepts the checkpoint of another log")
	}
}

func chmodAll(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Chmod(filepath.Join(dir, e.Name()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Two copies of one log, both written to: the second one finds the second
// place ahead of itself.
func TestForkOfACopyIsRefused(t *testing.T) {
	o := quickOptions(t)
	appendAll(t, o, "one")
	copied := o
	copied.Dir = o.Dir + "-copy"
	if err := os.CopyFS(copied.Dir, os.DirFS(o.Dir)); err != nil {
		t.Fatal(err)
	}
	chmodAll(t, copied.Dir)
	a, b := mustOpen(t, o), mustOpen(t, copied)
	defer a.Close()
	defer b.Close()
	if err := a.Append(context.Background(), observe("two")); err != nil {
		t.Fatal(err)
	}
	if err := b.Append(context.Background(), observe("another two")); !errors.Is(err, ErrRolledBack) {
		t.Errorf("the copy went on: %v", err)
	}
	if err := b.Append(context.Background(), observe("again")); err == nil {
		t.Error("a failed log took another record")
	}
	if err := a.Append(context.Background(), observe("three")); err != nil {
		t.Errorf("the log itself: %v", err)
	}
}

func TestHostileFilesAreRefused(t *testing.T) {
	segment := verify.SegmentName(0)
	for name, damage := range map[string]func(path string) error{
		"a symbolic link": func(p string) error { return errors.Join(os.Rename(p, p+".real"), os.Symlink(p+".real", p)) },
		"a hard link":     func(p string) error { return os.Link(p, p+".second") },
		"a pipe":          func(p string) error { return errors.Join(os.Remove(p), mkfifo(p)) },
		"a directory":     func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) },
		"open to others":  func(p string) error { return os.Chmod(p, 0o644) },
	} {
		for _, file := range []string{segment, "tail", "lock", "reserve", "../keys/log.key", "../keys/log.vkey", "../second/checkpoint.head", "../second/checkpoint"} {
			o := quickOptions(t)
			appendAll(t, o, "one")
			if err := damage(filepath.Join(o.Dir, file)); err != nil {
				t.Fatal(err)
			}
			if err := openError(t, o); err == nil {
				t.Errorf("%s in place of %s: opened", name, file)
			}
		}
	}
}

func TestDirectoryOfOthersIsRefused(t *testing.T) {
	for _, dir := range []string{"log", "keys", "second"} {
		o := quickOptions(t)
		appendAll(t, o, "one")
		if err := os.Chmod(filepath.Join(filepath.Dir(o.Dir), dir), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := openError(t, o); err == nil {
			t.Errorf("%s that everybody can write to: opened", dir)
		}
	}
}

// A power cut can take the published checkpoint; the second place has it.
func TestPublishedCheckpointIsMended(t *testing.T) {
	o := quickOptions(t)
	appendAll(t, o, "one")
	path := filepath.Join(o.Dir, verify.CheckpointFile)
	for _, content := range []string{"", "garbage"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		mustOpen(t, o).Close()
		check(t, o)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, o).Close()
	if r := check(t, o); r.Unsigned != 0 {
		t.Errorf("%d records unsigned", r.Unsigned)
	}
}

func TestMissingKeyIsNotReplaced(t *testing.T) {
	o := quickOptions(t)
	appendAll(t, o, "one")
	if err := os.Remove(filepath.Join(o.KeyDir, privateKeyFile)); err != nil {
		t.Fatal(err)
	}
	if err := openError(t, o); !errors.Is(err, ErrNoKey) {
		t.Errorf("%v, want ErrNoKey", err)
	}
}

func TestLostSecondPlaceIsRecorded(t *testing.T) {
	o := quickOptions(t)
	appendAll(t, o, "one")
	if err := os.RemoveAll(filepath.Dir(o.Second)); err != nil {
		t.Fatal(err)
	}
	appendAll(t, o, "two")
	if got := strings.Join(notes(t, o), "\n"); !strings.Contains(got, "no readable head") {
		t.Errorf("records are %q", got)
	}
	check(t, o)
}

// The head alone refuses another log, also when everything is read anew, and
// is not overwritten by it.
func TestReplacedLogIsRefusedByTheHeadAlone(t *testing.T) {
	o, other := quickOptions(t), quickOptions(t)
	appendAll(t, o, "one")
	appendAll(t, other, "one", "two", "three")
	current, foreign := takeSnapshot(t, o), takeSnapshot(t, other)
	state := snapshot{}
	for path, content := range current {
		if filepath.Dir(path) != o.Dir && path != o.Second {
			state[path] = content
		}
	}
	name := verify.SegmentName(0)
	state[filepath.Join(o.Dir, name)] = foreign[filepath.Join(other.Dir, name)]
	state.restore(t, o)
	for range 2 { // the second time nothing was learnt from the first
		if err := openError(t, o); !errors.Is(err, ErrRolledBack) {
			t.Errorf("%v, want ErrRolledBack", err)
		}
	}
}

// After a restart the log is read again, and must still reach what its tail
// counted, even if the second place is lost.
func TestTailIsRememberedAcrossARestart(t *testing.T) {
	o := quickOptions(t)
	before, after := twoStates(t, o)
	segment := filepath.Join(o.Dir, verify.SegmentName(0))
	after.with(segment, before[segment]).with(o.Second+".head", nil).restore(t, o)
	s, _, err := openStore(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.boot = "another boot"
	if err := s.with(context.Background(), func() error { return nil }); !errors.Is(err, ErrRolledBack) {
		t.Errorf("%v, want ErrRolledBack", err)
	}
}
