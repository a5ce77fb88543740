package workspace

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
)

// A repository that was deleted and made again at the same path, by chance
// with the same inode number, is another tree: its work is not resumed there,
// and not lost.
func TestDeskOfATreeThatWasReplaced(t *testing.T) {
	s := newSite(t, StagingOverlay)
	s.write("a", "1\n")
	first, c := s.run(`echo 2 >> a`)
	first.Close()
	var was, now unix.Stat_t
	if err := errors.Join(unix.Stat(s.root, &was), os.RemoveAll(s.root)); err != nil {
		t.Fatal(err)
	}
	for range 20 { // until the number is used again, where the file system does so
		if err := errors.Join(os.Mkdir(s.root, 0o755), unix.Stat(s.root, &now)); err != nil {
			t.Fatal(err)
		}
		if was.Ino == now.Ino {
			break
		}
		if err := os.Remove(s.root); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(s.root, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Logf("the same inode number: %v", was.Ino == now.Ino)
	s.write("a", "another\n")
	s.ws = nil
	second := s.take(SeatOptions{})
	if second.ID() == first.ID() {
		t.Fatal("the work of another tree is resumed")
	}
	if len(second.Notes) != 1 || !strings.Contains(second.Notes[0], string(first.ID())) || !strings.Contains(second.Notes[0], "another directory") {
		t.Errorf("notes: %q", second.Notes)
	}
	agent(t, second, `test "$(cat a)" = another`)
	old, err := s.ws.Desk(first.ID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Capture(context.Background(), CaptureOptions{}); !errors.Is(err, ErrReplaced) {
		t.Errorf("capturing it: %v", err)
	}
	old.Close()
	if _, err := s.ws.LoadChange(must(s.ws.Change(c.ID))); err != nil {
		t.Errorf("its change: %v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// otherVersion raises the version of a file of state.
func otherVersion(t *testing.T, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(strings.Replace(string(raw), `"v":1`, `"v":7`, 1)), 0o600)
	}
	if err != nil || !strings.Contains(string(raw), `"v":1`) {
		t.Fatal(err, string(raw))
	}
}

// State of another version is left alone and named, and this version goes on
// beside it.
func TestStateOfAnotherVersion(t *testing.T) {
	s := newSite(t, StagingOverlay)
	first, c := s.run(`echo x > x`)
	first.Close()
	otherVersion(t, filepath.Join(s.state, "desks", string(first.ID()), deskFile))
	second := s.take(SeatOptions{})
	if second.ID() == first.ID() || len(second.Notes) != 1 || !strings.Contains(second.Notes[0], "another version") || !strings.Contains(second.Notes[0], string(first.ID())) {
		t.Errorf("%s beside %s, notes: %q", second.ID(), first.ID(), second.Notes)
	}
	otherVersion(t, s.ws.changeFile(c.ID))
	if _, err := s.ws.LatestChange(); !errors.Is(err, ErrNoChange) || !errors.Is(err, ErrOtherVersion) || !strings.Contains(err.Error(), string(c.ID)) {
		t.Errorf("the newest change: %v", err)
	}
	if all, err := s.ws.Changes(); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	agent(t, second, `echo y > y`)
	mine := capture(t, second)
	if e, err := s.ws.LatestChange(); err != nil || e.ID != mine.ID {
		t.Errorf("the newest change: %v, %v", e.ID, err)
	}
	second.Close()
	time.Sleep(5 * time.Millisecond)
	done, err := Prune(context.Background(), s.state, s.ws.opts.Blobs, Retention{Desks: 1, Changes: 1}, nil)
	if !errors.Is(err, ErrOtherVersion) || done.Desks+done.Changes+done.Contents != 0 {
		t.Errorf("pruned %+v, %v", done, err)
	}
	if err := os.MkdirAll(appliesDir(s.state), 0o700); err != nil {
		t.Fatal(err)
	}
	journal := filepath.Join(appliesDir(s.state), string(c.ID)+".json")
	if err := os.WriteFile(journal, []byte(`{"v":7,"workspace":"`+s.root+`","work":"`+workPrefix+`x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := recoverAll(s.state); !errors.Is(err, ErrOtherVersion) || !strings.Contains(err.Error(), journal) {
		t.Errorf("an interrupted apply: %v", err)
	}
}

// One damaged file stops nothing else from being pruned: it is named, with
// what to do, and no contents go that it might need.
func TestPruneGoesOnPastDamage(t *testing.T) {
	s := newSite(t, StagingOverlay)
	kept, c := s.run(`echo x > x`)
	kept.Close()
	idle := s.take(SeatOptions{Agent: "idle"})
	capture(t, idle)
	idle.Close()
	broken := s.take(SeatOptions{Agent: "broken"})
	capture(t, broken)
	broken.Close()
	manifest := must(s.ws.Change(c.ID)).Manifest
	deskJSON := filepath.Join(s.state, "desks", string(broken.ID()), deskFile)
	if err := errors.Join(os.WriteFile(deskJSON, []byte("{"), 0o600), os.RemoveAll(filepath.Join(s.state, "blobs", "packs")), os.MkdirAll(filepath.Join(s.state, "blobs", "packs"), 0o700)); err != nil {
		t.Fatal(err)
	}
	s.ws = nil
	blobs := s.open().opts.Blobs
	if blobs.Has(manifest) {
		t.Fatal("the manifest is still there")
	}
	other := must(blobs.Batch())
	unneeded := must(other.PutBytes([]byte("nobody needs this")))
	if err := other.Commit(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Millisecond)
	done, err := Prune(context.Background(), s.state, blobs, Retention{Desks: 1, Changes: 1}, nil)
	if err == nil || done.Desks != 1 || done.Contents != 0 || !blobs.Has(unneeded) {
		t.Fatalf("%+v, %v", done, err)
	}
	for _, want := range []string{string(c.ID), string(broken.ID()), "delete " + s.ws.changeFile(c.ID), "delete " + filepath.Dir(deskJSON), "no contents are removed"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %q", err, want)
		}
	}
	if err := errors.Join(os.Remove(s.ws.changeFile(c.ID)), os.RemoveAll(filepath.Dir(deskJSON))); err != nil {
		t.Fatal(err)
	}
	if done, err = Prune(context.Background(), s.state, blobs, Retention{}, func(carrel.Digest) bool { return false }); err != nil || done.Contents != 1 {
		t.Errorf("after that: %+v, %v", done, err)
	}
}
