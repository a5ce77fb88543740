//go:build unix

package private

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

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
		if err := CheckDir(dir); (err == nil) != want {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}

func TestCloseDir(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	if CheckDir(dir) == nil {
		t.Error("others can enter before")
	}
	must(t, CloseDir(dir))
	must(t, CheckDir(dir))
	if link := dir + "-link"; os.Symlink(dir, link) != nil || CloseDir(link) == nil {
		t.Error("a link was taken for the directory")
	}
}

// What grants may be read by others and not written.
func TestAttackWriters(t *testing.T) {
	for mode, want := range map[fs.FileMode]bool{0o600: true, 0o644: true, 0o666: false} {
		path := filepath.Join(t.TempDir(), "file")
		must(t, os.WriteFile(path, nil, 0o600))
		must(t, os.Chmod(path, mode))
		f, err := os.Open(path)
		must(t, err)
		if err := CheckWriters(f); (err == nil) != want {
			t.Errorf("mode %o: %v", mode, err)
		}
		f.Close()
	}
}
