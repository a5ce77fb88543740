package native

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestReapRemovesOnlyWhatIsAbandoned(t *testing.T) {
	parent := t.TempDir()
	dirs := map[string]bool{"live": false, "dead": true, "fresh": false, "stale": true}
	for name := range dirs {
		if err := os.Mkdir(filepath.Join(parent, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	live, err := claim(filepath.Join(parent, "live"))
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	dead, err := claim(filepath.Join(parent, "dead"))
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	long := time.Now().Add(-2 * unclaimed)
	if err := os.Chtimes(filepath.Join(parent, "stale"), long, long); err != nil {
		t.Fatal(err)
	}
	if _, err := Reap(parent); err != nil {
		t.Fatal(err)
	}
	for name, gone := range dirs {
		if _, err := os.Stat(filepath.Join(parent, name)); errors.Is(err, os.ErrNotExist) != gone {
			t.Errorf("%s: %v, want gone: %v", name, err, gone)
		}
	}
	if _, err := Reap(filepath.Join(parent, "missing")); err != nil {
		t.Error(err)
	}
}

// Runs that begin while others clear up must not lose their directories, nor
// their claims.
func TestReapingBesideThoseWhoBegin(t *testing.T) {
	parent := t.TempDir()
	over := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		for {
			select {
			case <-over:
				done <- nil
				return
			default:
			}
			if _, err := Reap(parent); err != nil {
				done <- err
				return
			}
		}
	}()
	for i := range 3000 {
		dir := filepath.Join(parent, strconv.Itoa(i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		held, err := claim(dir)
		if err != nil {
			t.Fatalf("run %d: %v", i, err)
		}
		if _, err := os.Stat(dir); err != nil {
			t.Fatalf("run %d: %v", i, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		held.Close()
	}
	close(over)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
