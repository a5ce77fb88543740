//go:build unix

package verify

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Whoever can write to a log's directory makes whoever checks it neither wait
// for ever nor read without end, nor read what lies elsewhere.
func TestPipesAndLinksInPlaceOfFiles(t *testing.T) {
	_, key := fixtureKeys(t, fixtureOrigin)
	for _, name := range []string{SegmentName(0), SegmentName(4), HashesFile, IndexFile, CheckpointFile, CosignedFile, SuccessionFile(1)} {
		for how, make := range map[string]func(path string) error{
			"a pipe":           func(p string) error { return syscall.Mkfifo(p, 0o600) },
			"a link":           func(p string) error { return os.Symlink(p+".real", p) },
			"an endless thing": func(p string) error { return os.Symlink("/dev/zero", p) },
		} {
			dir := t.TempDir()
			fixtureFiles(t, fixtureRecords(t)).write(t, dir)
			path := filepath.Join(dir, name)
			if err := os.Rename(path, path+".real"); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			done := wait(t, func() error { _, err := Log(context.Background(), dir, key, Options{}); return err })
			if done == nil {
				t.Errorf("%s in place of %s: the log is right", how, name)
			}
		}
	}
}

// A pipe that comes between the look at a file and its opening.
func TestPipeThatComesLate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = wait(t, func() error {
		f, err := openFile(path)
		if err == nil {
			f.Close()
		}
		return err
	})
}

func wait(t *testing.T, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("it waits")
		return nil
	}
}
