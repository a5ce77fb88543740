package workspace

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/needs"
)

// onDisk makes a file system on a loop device and mounts it at a site's root.
func onDisk(t *testing.T, mkfs ...string) *site {
	t.Helper()
	needs.Root(t)
	needs.Tool(t, mkfs[0])
	s := newSite(t, StagingOverlay)
	image := filepath.Join(filepath.Dir(s.root), "image")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 32<<20)); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{append(mkfs, image), {"mount", "-o", "loop", image, s.root}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	t.Cleanup(func() { unix.Unmount(s.root, unix.MNT_DETACH) })
	return s
}

// On a file system that keeps whole seconds what the user wrote in the second
// of the start is not overwritten.
func TestCoarseClock(t *testing.T) {
	s := onDisk(t, "mkfs.ext4", "-q", "-I", "128")
	s.write("f", "base\n")
	s.write("quiet", "base\n")
	time.Sleep(1100 * time.Millisecond)
	for range 3 { // until start and edit fall into one second
		for time.Now().Nanosecond() > 3e8 {
			time.Sleep(10 * time.Millisecond)
		}
		seat := s.take(SeatOptions{Fresh: true})
		agent(t, seat, `echo agent > f; echo agent > quiet`)
		s.write("f", "mine\n")
		c := capture(t, seat)
		seat.Close()
		if f := fileOf(t, c.Files, "f"); !hasLabel(f, "moved") {
			t.Fatalf("the user's edit went unnoticed: %+v", f)
		}
		if f := fileOf(t, c.Files, "quiet"); hasLabel(f, "moved") {
			t.Errorf("nobody touched this: %+v", f)
		}
		var conflict *ConflictError
		if err := s.apply(c); !errors.As(err, &conflict) || len(conflict.Conflicts) != 1 {
			t.Fatalf("got %v", err)
		}
	}
	if got := s.read("f"); got != "mine\n" {
		t.Errorf("the user's work is %q", got)
	}
}

// A copy on such a file system: what the agent wrote at once is seen.
func TestCoarseClockBelowACopy(t *testing.T) {
	disk := onDisk(t, "mkfs.ext4", "-q", "-I", "128")
	s := newSite(t, StagingCopy)
	s.state = disk.root
	s.write("f", "base\n")
	_, c := s.run(`echo BASE > f`)
	expect(t, c.Files, "modify file f")
}

// What is read-only can be worked on, and an apply says why it cannot be.
func TestReadOnlyFileSystem(t *testing.T) {
	needs.Root(t)
	s := newSite(t, StagingAuto)
	s.write("f", "base\n")
	if err := errors.Join(unix.Mount(s.root, s.root, "", unix.MS_BIND, ""), unix.Mount("", s.root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(s.root, unix.MNT_DETACH) })
	seat, c := s.run(`echo 2 >> f; mkdir d; echo n > d/n`)
	expect(t, c.Files, "create file d/n", "modify file f")
	seat.Close()
	var conflict *ConflictError
	if err := s.apply(c); !errors.As(err, &conflict) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("got %v", err)
	}
	if found, err := FindConflicts(context.Background(), ApplyOptions{Change: c, Blobs: s.ws.opts.Blobs, State: s.state}); err != nil || len(found) == 0 {
		t.Errorf("review says %v, %v", found, err)
	}
}

// A workspace that lies in memory, or is itself an overlay, works like any.
func TestWorkspaceInMemoryAndOnAnOverlay(t *testing.T) {
	needs.Root(t)
	for _, kind := range []string{"tmpfs", "ramfs", "overlay"} {
		for _, staging := range []Staging{StagingOverlay, StagingCopy} {
			t.Run(kind+" "+string(staging), func(t *testing.T) {
				s := newSite(t, staging)
				data := ""
				if kind == "overlay" {
					layers := tempDir(t)
					for _, d := range []string{"l/d", "u", "w"} {
						if err := os.MkdirAll(filepath.Join(layers, d), 0o755); err != nil {
							t.Fatal(err)
						}
					}
					if err := os.WriteFile(filepath.Join(layers, "l/d/below"), []byte("1\n"), 0o644); err != nil {
						t.Fatal(err)
					}
					data = "lowerdir=" + layers + "/l,upperdir=" + layers + "/u,workdir=" + layers + "/w"
				}
				mountAt(t, s.root, kind, data)
				s.write("d/below", "1\n")
				s.write("f", "1\n")
				seat, c := s.run(`echo 2 >> f; echo 2 >> d/below; mkdir q; echo n > q/n`)
				expect(t, c.Files, "modify file d/below", "modify file f", "create file q/n")
				seat.Close()
				if err := s.apply(c); err != nil {
					t.Fatal(err)
				}
				if s.read("d/below") != "1\n2\n" || s.read("q/n") != "n\n" {
					t.Error(s.list())
				}
			})
		}
	}
}
