package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/needs"
)

// swapForEver makes the name x stand for a file, a link to something outside,
// a directory, a FIFO and a link to a directory outside, as fast as it can.
func swapForEver(outside string) error {
	for _, err := range []error{
		os.WriteFile("x", []byte("inside\n"), 0o644), os.Symlink(outside, "x1"), os.Mkdir("x2", 0o755), unix.Mkfifo("x3", 0o644),
		os.Symlink(filepath.Dir(outside), "x4"), os.WriteFile("x2/"+filepath.Base(outside), []byte("inside\n"), 0o644),
		os.WriteFile("x5", []byte("inside, too\n"), 0o644),
	} {
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for i := 0; ; i++ {
		other := "x" + string(rune('1'+i%5))
		if err := unix.Renameat2(unix.AT_FDCWD, "x", unix.AT_FDCWD, other, unix.RENAME_EXCHANGE); err != nil && err != unix.EXDEV {
			return err
		}
	}
}

// begin starts a script at the desk that goes on until the test ends.
func begin(t *testing.T, s *Seat, script string) *exec.Cmd {
	t.Helper()
	layers, err := json.Marshal(s.workspaceLayers())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", insideFlag, string(layers), script)
	cmd.SysProcAttr = atDesk(s)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// I163, E2: names that change what they stand for while the change is taken
// lead nowhere: nothing of outside is read, nothing waits, and what holds
// still beside them is taken.
func TestAttackNamesThatSwapDuringTheCapture(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		outside := filepath.Join(tempDir(t), "canary")
		if err := os.WriteFile(outside, []byte("canary of the host\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		s.write("steady", "1\n")
		seat := s.take(SeatOptions{})
		agent(t, seat, `echo 2 >> steady`)
		begin(t, seat, "!swap "+outside)
		taken := 0
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			c, err := seat.Capture(ctx, CaptureOptions{Decide: allowAll, Running: true})
			cancel()
			if err != nil {
				t.Fatalf("capture %d: %v", taken, err)
			}
			taken++
			if f := fileOf(t, c.Files, "steady"); f.Change != carrel.Modified {
				t.Errorf("steady: %+v", f)
			}
			noCanary(t, s, c)
			if t.Failed() {
				return
			}
		}
		t.Logf("%d changes taken", taken)
	})
	needs.AsUser(t, "^TestAttackNamesThatSwapDuringTheCapture$")
}

func noCanary(t *testing.T, s *site, c *carrel.Change) {
	t.Helper()
	for _, f := range c.Files {
		if f.Kind != carrel.FileRegular {
			continue
		}
		if content, err := s.ws.opts.Blobs.Read(f.Digest, 1000); err != nil || strings.Contains(string(content), "canary") {
			t.Errorf("%s: %q, %v", f.Path, content, err)
		}
	}
}

// Applied while the agent goes on swapping: what is applied is what was taken.
func TestAttackSwapWhileApplying(t *testing.T) {
	eachStaging(t, func(t *testing.T, s *site) {
		outside := filepath.Join(tempDir(t), "canary")
		if err := os.WriteFile(outside, []byte("canary of the host\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		seat := s.take(SeatOptions{})
		begin(t, seat, "!swap "+outside)
		applied := 0
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
			c, err := seat.Capture(context.Background(), CaptureOptions{Decide: onlyFiles, Running: true})
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Files) == 0 {
				continue
			}
			var conflict *ConflictError
			if err := s.apply(c); err != nil && !errors.As(err, &conflict) {
				t.Fatal(err)
			} else if err == nil {
				applied++
				if err := seat.Settle(context.Background(), c.Files); err != nil {
					t.Fatal(err)
				}
			}
		}
		t.Logf("%d changes applied", applied)
		if applied == 0 {
			t.Error("nothing was applied")
		}
		err := filepath.WalkDir(s.root, func(p string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				if b, rerr := os.ReadFile(p); rerr != nil || !strings.HasPrefix(string(b), "inside") {
					t.Errorf("%s: %q (%v)", p, b, rerr)
				}
			} else if err == nil && !e.IsDir() {
				t.Errorf("%s is a %s", p, e.Type())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// onlyFiles is a policy that lets regular files out and nothing else.
func onlyFiles(_ context.Context, a carrel.Action) carrel.Decision {
	if a.File != nil && (a.File.Kind == carrel.FileRegular || a.File.Kind == carrel.FileDir) {
		return carrel.Decision{Verdict: carrel.Allow}
	}
	return carrel.Decision{Verdict: carrel.Deny, Reason: "only files"}
}

// The user's own tree moves while it is copied: what is copied is a file of
// the tree or nothing, never what a link leads to.
func TestAttackSwapWhileCopying(t *testing.T) {
	s := newSite(t, StagingCopy)
	outside := filepath.Join(tempDir(t), "canary")
	if err := os.WriteFile(outside, []byte("canary of the host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.write("steady", "1\n")
	for i := range 200 {
		s.write("many/f"+string(rune('a'+i%26))+string(rune('a'+i/26)), "x\n")
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	must(0, errors.Join(os.WriteFile(s.root+"/x", []byte("inside\n"), 0o644), os.Symlink(outside, s.root+"/x1"), os.Mkdir(s.root+"/x2", 0o755),
		os.WriteFile(s.root+"/x2/canary", []byte("inside\n"), 0o644), os.Symlink(filepath.Dir(outside), s.root+"/x3")))
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, s.root+"/x", unix.AT_FDCWD, s.root+"/x"+string(rune('1'+i%3)), unix.RENAME_EXCHANGE)
			}
		}
	})
	made := 0
	for range 12 {
		seat, err := s.open().Take(context.Background(), SeatOptions{Agent: "a", Fresh: true, Staging: StagingCopy})
		if err != nil {
			continue // a tree that does not hold still may be refused, with its reason
		}
		made++
		copied := seat.Layers()[0].Copy
		err = filepath.WalkDir(copied, func(p string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				if b, rerr := os.ReadFile(p); rerr != nil || strings.Contains(string(b), "canary") {
					t.Errorf("%s: %q (%v)", p, b, rerr)
				}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		seat.Close()
	}
	if made == 0 {
		t.Error("no copy was made")
	}
	t.Logf("%d copies made", made)
}

// What the copy cannot hold, or nobody can read, stops no run.
func TestCopyOfAnAwkwardTree(t *testing.T) {
	s := newSite(t, StagingCopy)
	s.write("locked/inner/f", "x\n")
	s.write("locked/g", "x\n")
	s.write("unreadable", "x\n")
	s.write("one", "shared\n")
	s.write("dir/f", "x\n")
	if err := errors.Join(unix.Mkfifo(s.root+"/fifo", 0o600), os.Link(s.root+"/one", s.root+"/two"), os.WriteFile(s.root+"/huge", nil, 0o600),
		os.Truncate(s.root+"/huge", 8<<40), os.Symlink("/nowhere", s.root+"/broken"), os.Chmod(s.root+"/unreadable", 0), os.Chmod(s.root+"/locked", 0)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(s.root+"/locked", 0o700) })
	begun := time.Now()
	seat, c := s.run(`test -d locked; echo 2 >> one; test "$(stat -c %s huge)" = 8796093022208; test ! -e fifo; echo w >> dir/f`)
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	expect(t, c.Files, "modify file dir/f", "modify file one")
	expect(t, c.Withheld)
	seat.Close()
	next := s.take(SeatOptions{})
	agent(t, next, `rm huge; mkdir huge; ln -s /etc/passwd huge/passwd; mv one huge/one`)
	c = capture(t, next)
	expect(t, c.Files, "modify file dir/f", "type dir huge", "create file huge/one", "create link huge/passwd", "delete none one")
	needs.AsUser(t, "^TestCopyOfAnAwkwardTree$")
}
