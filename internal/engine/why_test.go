//go:build linux

package engine

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A pipe, a link or an endless file that takes the place of the one that was
// looked at.
func TestSourceThatIsSwapped(t *testing.T) {
	dir := t.TempDir()
	good, pipe, link, zero := filepath.Join(dir, "good"), filepath.Join(dir, "pipe"), filepath.Join(dir, "link"), "/dev/zero"
	if err := os.WriteFile(good, []byte("a\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	if content, err := readSource(good); err != nil || string(content) != "a\nb\n" {
		t.Errorf("%q, %v", content, err)
	}
	for _, path := range []string{pipe, link, zero} {
		done := make(chan error, 1)
		go func() {
			content, err := readSource(path)
			if err == nil && len(content) > 0 {
				t.Errorf("%s: %d bytes", path, len(content))
			}
			done <- err
		}()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: it waits", path)
		}
	}
}
