package native

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// Overlays are mounted so that the kernel does not write the host's whole disk
// back when a run ends. In exchange it marks the layer while it is in use, and
// refuses one that is marked. Carrel takes the mark away, at the end of the
// run or at the next start, once the layer itself is on the disk; a layer that
// nothing was written to needs no wait.

// settleLayers makes the overlays' layers durable and usable again. It
// reports whether any was still marked.
func settleLayers(mounts []sandbox.Mount) (marked bool, err error) {
	for i := range mounts {
		if m := &mounts[i]; m.Kind == sandbox.MountOverlay {
			was, serr := settleLayer(m.Upper, m.Work)
			marked, err = marked || was, errors.Join(err, serr)
		}
	}
	return marked, err
}

func settleLayer(upper, work string) (marked bool, err error) {
	inner := filepath.Join(work, "work") // the kernel's own, every directory of mode 000
	mark := filepath.Join(inner, "incompat")
	for _, dir := range []string{inner, mark, filepath.Join(mark, "volatile")} {
		if err = os.Chmod(dir, 0o700); err != nil {
			break
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = writeBack(upper)
	}
	if err == nil {
		err = os.RemoveAll(mark)
	}
	if err != nil {
		return true, fmt.Errorf("settling the layer of changes: %w", err)
	}
	return true, nil
}

// writeBack returns once what lies below dir would survive a power cut.
func writeBack(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if names, err := f.Readdirnames(1); err == nil && len(names) > 0 {
		return unix.Syncfs(int(f.Fd()))
	}
	return nil
}
