package workspace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/needs"
)

// mounted is a workspace with mounts inside: a volume at vol, one in it at
// vol/deep/inner, and a view of the machine at root/queues.
func mounted(t *testing.T) *site {
	s := newSite(t, StagingAuto)
	s.write("top.txt", "top\n")
	s.write("src/a.go", "a\n")
	s.write("src/sub/b.go", "b\n")
	s.write("other/x/y", "y\n")
	s.sh("mkdir -p vol root/queues root/etc; ln -s src link; git init -q; git config remote.o.url https://u:hunter2@h/x")
	mountAt(t, filepath.Join(s.root, "vol"), "tmpfs", "size=4m,mode=755")
	s.write("vol/v", "v\n")
	s.write("vol/keep/k", "k\n")
	s.sh("mkdir -p vol/deep/inner vol/deep/beside")
	mountAt(t, filepath.Join(s.root, "vol/deep/inner"), "tmpfs", "size=4m,mode=755")
	s.write("vol/deep/inner/i", "i\n")
	s.write("vol/deep/beside/b", "b\n")
	mountAt(t, filepath.Join(s.root, "root/queues"), "mqueue", "") // not proc: one that is whole makes others possible
	return s
}

// likeAUser refuses what the kernel refuses an ordinary user.
func likeAUser(lower, _ string) error {
	if at, err := mountsBelow(lower); err != nil || len(at) > 0 {
		return errors.New("there are mounts below it")
	}
	return nil
}

// A workspace with mounts inside is staged in pieces: the agent sees all of
// them as they are, and its work in each is one change.
func TestMountsInsideTheWorkspace(t *testing.T) {
	if dir := os.Getenv("CARREL_TEST_DIR"); dir != "" {
		workAmongMounts(t, &site{t: t, root: filepath.Join(dir, "project"), state: tempDir(t), kind: StagingAuto}, SeatOptions{Probe: likeAUser}, true)
		return
	}
	needs.Root(t)
	t.Run("over the mounts", func(t *testing.T) {
		workAmongMounts(t, mounted(t), SeatOptions{}, false)
	})
	t.Run("around the mounts", func(t *testing.T) {
		workAmongMounts(t, mounted(t), SeatOptions{Probe: likeAUser}, true)
	})
	t.Run("copied", func(t *testing.T) {
		workAmongMounts(t, mounted(t), SeatOptions{Staging: StagingCopy}, false)
	})
	s := mounted(t)
	u, err := needs.User()
	if err != nil {
		t.Fatal(err)
	}
	s.sh(fmt.Sprintf("chown -R %s:%s $(ls -A | grep -v '^root$')", u.Uid, u.Gid))
	s.sh(fmt.Sprintf("chown %s:%s . root root/etc", u.Uid, u.Gid))
	dir := filepath.Dir(s.root)
	s.sh(fmt.Sprintf("chown %s:%s %s", u.Uid, u.Gid, dir))
	needs.AsUser(t, "^TestMountsInsideTheWorkspace$", "CARREL_TEST_DIR="+dir)
}

func workAmongMounts(t *testing.T, s *site, opts SeatOptions, around bool) {
	seat := s.take(opts)
	for _, n := range seat.Notes {
		if !strings.Contains(n, "root/queues is not shown") && (!around || !strings.Contains(n, "cannot be renamed or removed")) {
			t.Errorf("note: %s", n)
		}
	}
	if copied := seat.Layers()[0].Copy != ""; copied != (around || opts.Staging == StagingCopy) {
		t.Errorf("layers: %+v", seat.Layers())
	}
	agent(t, seat, `
		test "$(cat top.txt src/a.go vol/v vol/deep/inner/i vol/deep/beside/b other/x/y link/sub/b.go)" = "top
a
v
i
b
y
b"
		test -z "$(ls -A root/queues)"
		! grep -q hunter2 .git/config
		echo 2 >> top.txt
		echo 2 >> src/a.go; mv src/sub src/moved
		rm -r other/x
		echo 2 >> vol/v; rm vol/keep/k; mkdir vol/new; echo n > vol/new/n
		echo 2 >> vol/deep/inner/i
		chmod 700 vol/deep/beside
		mkdir fresh; echo f > fresh/f
		echo evil > .git/hooks/pre-commit`)
	c := capture(t, seat)
	want := []string{"create file fresh/f", "delete none other/x", "delete none other/x/y", "modify file src/a.go", "create file src/moved/b.go",
		"delete none src/sub", "delete none src/sub/b.go", "modify file top.txt", "mode dir vol/deep/beside", "modify file vol/deep/inner/i",
		"delete none vol/keep/k", "create file vol/new/n", "modify file vol/v"}
	expect(t, c.Files, want...)
	expect(t, c.Withheld)
	if s.read("vol/v")+s.read("top.txt")+s.read("vol/deep/inner/i") != "v\ntop\ni\n" {
		t.Error("the tree was altered")
	}
	seat.Close()
	again := s.take(opts) // and the work goes on
	if again.ID() != seat.ID() {
		t.Fatalf("not resumed: %v", again.Notes)
	}
	agent(t, again, `test "$(cat vol/v)" = "v
2"; test ! -e vol/keep/k; echo 3 >> vol/v; rm vol/new/n; rmdir vol/new`)
	c = capture(t, again)
	expect(t, c.Files, append(append([]string{}, want[:11]...), want[12])...)
	leaveSome(t, s, again, c, opts)
}

// leaveSome settles two files as applied and sees that the next run has the
// tree's there, and the other work still.
func leaveSome(t *testing.T, s *site, seat *Seat, c *carrel.Change, opts SeatOptions) {
	var applied []carrel.FileChange
	for _, f := range c.Files {
		if f.Path == "vol/v" || f.Path == "src/a.go" {
			applied = append(applied, f)
		}
	}
	if err := seat.Settle(context.Background(), applied); err != nil {
		t.Fatal(err)
	}
	seat.Close()
	next := s.take(opts)
	agent(t, next, `test "$(cat vol/v src/a.go)" = "v
a"; test ! -e other/x; test "$(cat vol/deep/inner/i)" = "i
2"`)
	left := capture(t, next)
	if got := describe(left.Files); strings.Contains(got, "vol/v\n") || strings.Contains(got, "src/a.go") || !strings.Contains(got, "vol/deep/inner/i") {
		t.Errorf("after settling:\n%s", got)
	}
}

// What is mounted inside is not exchanged below unapplied work; without work
// the desk follows.
func TestMountsChangeBetweenRuns(t *testing.T) {
	needs.Root(t)
	s := newSite(t, StagingAuto)
	s.write("a", "1\n")
	s.write("vol/under", "hidden later\n")
	first, _ := s.run(`echo 2 >> a`)
	first.Close()
	at := filepath.Join(s.root, "vol")
	mountAt(t, at, "tmpfs", "size=1m")
	s.write("vol/v", "v\n")
	_, err := s.ws.Take(context.Background(), SeatOptions{Agent: "tester"})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "--fresh") {
		t.Fatalf("resumed on other mounts: %v", err)
	}
	fresh := s.take(SeatOptions{Fresh: true})
	agent(t, fresh, `test "$(cat vol/v)" = v; test ! -e vol/under`)
	capture(t, fresh)
	fresh.Close()
	if err := unix.Unmount(at, 0); err != nil {
		t.Fatal(err)
	}
	next := s.take(SeatOptions{})
	if next.ID() != fresh.ID() {
		t.Fatalf("an idle desk is not taken again: %v", next.Notes)
	}
	agent(t, next, `test ! -e vol/v; test -e vol/under`)
	if len(next.Layers()) != 1 || next.Layers()[0].Copy != "" {
		t.Errorf("layers: %+v", next.Layers())
	}
}

// The user deletes a directory that is a piece while the desk has work in it.
func TestPieceWhoseDirectoryIsGone(t *testing.T) {
	needs.Root(t)
	s := mounted(t)
	seat := s.take(SeatOptions{Probe: likeAUser})
	agent(t, seat, `echo new > src/new.go; echo x > other/x/y`)
	capture(t, seat)
	seat.Close()
	if err := errors.Join(os.RemoveAll(filepath.Join(s.root, "src")), os.RemoveAll(filepath.Join(s.root, "other"))); err != nil {
		t.Fatal(err)
	}
	next := s.take(SeatOptions{})
	agent(t, next, `test "$(cat src/new.go)" = new; test ! -e src/a.go`)
	c := capture(t, next)
	if f := fileOf(t, c.Files, "src/new.go"); f.Change != carrel.Created {
		t.Errorf("src/new.go: %+v", f)
	}
	if f := fileOf(t, c.Files, "other/x/y"); !hasLabel(f, "moved") {
		t.Errorf("other/x/y: %+v", f)
	}
}

// Where there is too much beside a mount everything is copied, and it is said.
func TestTooManyPieces(t *testing.T) {
	needs.Root(t)
	s := newSite(t, StagingAuto)
	for i := range maxPieces + 1 {
		s.write(fmt.Sprintf("d%d/f", i), "x\n")
	}
	s.sh("mkdir vol")
	mountAt(t, filepath.Join(s.root, "vol"), "tmpfs", "size=1m")
	s.write("vol/v", "v\n")
	seat := s.take(SeatOptions{Probe: likeAUser})
	if len(seat.Layers()) != 1 || seat.Layers()[0].Copy == "" || len(seat.Notes) != 1 || !strings.Contains(seat.Notes[0], "working on a copy") {
		t.Fatalf("%d layers, notes %q", len(seat.Layers()), seat.Notes)
	}
	agent(t, seat, `echo 2 >> vol/v; rm -r d7`)
	expect(t, capture(t, seat).Files, "delete none d7", "delete none d7/f", "modify file vol/v")
}
