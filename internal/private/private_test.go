package private

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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
	must(t, CheckDir(dir))
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("the directory holds %v", names)
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

// Who reads an answer does not keep another one from being put in its place.
func TestReplaceBesideReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "file")
	must(t, Replace(path, []byte("x")))
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 30 {
				if f, err := os.Open(path); err == nil {
					time.Sleep(time.Millisecond)
					_ = f.Close()
				}
			}
		})
	}
	for range 20 {
		if err := Replace(path, []byte("x")); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}
