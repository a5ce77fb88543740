package audit

import (
	"bytes"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/carrel-dev/carrel/internal/needs"
	"github.com/carrel-dev/carrel/verify"
)

// fsckModule is the checker of another implementation of tiled logs.
const fsckModule = "github.com/transparency-dev/tessera/cmd/fsck@v1.0.4"

// fsckProgram installs the checker beside the user's caches, once.
func fsckProgram(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "carrel-test", "tessera-1.0.4")
	program := filepath.Join(dir, "fsck")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	cmd := exec.Command("go", "install", fsckModule)
	cmd.Dir = t.TempDir() // outside this module
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		needs.Missing(t, fsckModule, fmt.Errorf("%w\n%s", err, out))
	}
	return program
}

// Tessera's fsck finds a published log right over HTTP, and a damaged one not.
func TestTesseraFsck(t *testing.T) {
	program := fsckProgram(t)
	o := quickOptions(t)
	key := filepath.Join(t.TempDir(), "log.vkey")
	server := httptest.NewServer(nil)
	defer server.Close()
	fsck := func() error {
		server.Config.Handler = Handler(o.Dir, publicKey(t, o))
		get(t, server.URL, "checkpoint") // publishes
		if err := os.WriteFile(key, []byte(publicKey(t, o)), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "-ui=false", "-N=4", "-storage_url="+server.URL+"/", "-public_key="+key)
		out, err := cmd.CombinedOutput()
		// It exits with 0 whatever it found.
		if err != nil || !bytes.Contains(out, []byte("Successfully fsck'd")) {
			return fmt.Errorf("%w: %.600s", errors.Join(errors.New("fsck failed"), err), out)
		}
		return nil
	}
	sizes := []int64{1, 256, 300, 65_537}
	if raced {
		sizes = sizes[:3]
	}
	for _, size := range sizes {
		grow(t, o, size)
		if err := fsck(); err != nil {
			t.Errorf("%d records: %v", size, err)
		}
	}
	damaged := []string{verify.TilePath(-1, 0, 256), verify.TilePath(0, 0, 256), verify.CheckpointFile}
	if !raced {
		damaged = append(damaged, verify.TilePath(-1, 256, 1), verify.TilePath(0, 3, 256), verify.TilePath(1, 0, 256), verify.TilePath(2, 0, 1))
	}
	for _, name := range damaged {
		path := filepath.Join(o.Dir, TilesDir, filepath.FromSlash(name))
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := append([]byte(nil), good...)
		bad[len(bad)/2] ^= 1
		if name == verify.CheckpointFile { // served as it was published before
			bad = good[:len(good)-10]
			path = filepath.Join(o.Dir, verify.CheckpointFile)
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := fsck(); err == nil {
			t.Errorf("%s: a flipped bit is not found", name)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
