//go:build unix

package private

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestReplaceThenRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	path := filepath.Join(dir, "file")
	for _, replace := range []func(string, []byte) error{Replace, ReplaceSoon} {
		for _, content := range []string{"one", "", "another"} {
			must(t, replace(path, []byte(content)))
			if got, err := Read(path, 7); err != nil || string(got) != content {
				t.Errorf("got %q, %v", got, err)
			}
		}
	}
	if _, err := Read(path, 6); err == nil || !strings.Contains(err.Error(), "larger than 6") {
		t.Errorf("over the limit: %v", err)
	}
	if _, err := Read(path+"x", 6); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	info, err := os.Stat(dir)
	must(t, err)
	if names, _ := os.ReadDir(dir); len(names) != 1 || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v and holds %v", info.Mode(), names)
	}
}

// What somebody else could have put there is not read.
func TestAttackPlantedFile(t *testing.T) {
	for name, plant := range map[string]func(path string) error{
		"others may read":  func(p string) error { return os.Chmod(p, 0o604) },
		"others may write": func(p string) error { return os.Chmod(p, 0o620) },
		"a hard link":      func(p string) error { return os.Link(p, p+"2") },
		"a link":           func(p string) error { return errors.Join(os.Rename(p, p+"2"), os.Symlink(p+"2", p)) },
		"a directory":      func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) },
		"a FIFO":           func(p string) error { return errors.Join(os.Remove(p), syscall.Mkfifo(p, 0o600)) },
		"of another user": func(p string) error {
			if os.Geteuid() != 0 {
				return nil // below: who else an ordinary user meets
			}
			return os.Chown(p, 12345, 12345)
		},
	} {
		path := filepath.Join(t.TempDir(), "file")
		must(t, Replace(path, []byte("x")))
		if _, err := Read(path, 10); err != nil {
			t.Errorf("%s, before: %v", name, err)
		}
		must(t, plant(path))
		if name == "of another user" && os.Geteuid() != 0 {
			path = "/etc/hostname"
		}
		if got, err := Read(path, 1000); err == nil {
			t.Errorf("%s: read %q", name, got)
		}
	}
}

func TestCheckOfADirectory(t *testing.T) {
	dir := t.TempDir()
	for mode, want := range map[fs.FileMode]bool{0o700: true, 0o770: false, 0o701: false} {
		must(t, os.Chmod(dir, mode))
		info, err := os.Lstat(dir)
		must(t, err)
		if err := Check(info, fs.ModeDir); (err == nil) != want {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}

func TestLockedIsOneAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	var inside, most atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			_ = Locked(dir, func() error {
				most.Store(max(most.Load(), inside.Add(1)))
				time.Sleep(5 * time.Millisecond)
				inside.Add(-1)
				return nil
			})
		})
	}
	wg.Wait()
	if most.Load() != 1 {
		t.Errorf("%d were inside at once", most.Load())
	}
}
