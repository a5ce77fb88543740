package engine

import (
	"os"
	"path/filepath"

	"github.com/carrel-dev/carrel/internal/private"
)

// maxRemembered bounds what is remembered of one thing.
const maxRemembered = 4 << 10

// remember keeps at path what took time to find out. What cannot be kept is
// found out again.
func remember(path string, found []byte) {
	if os.MkdirAll(filepath.Dir(path), 0o700) == nil {
		_ = private.ReplaceSoon(path, found)
	}
}

// recall returns what was remembered, and whether anything was.
func recall(path string) ([]byte, bool) {
	found, err := private.Read(path, maxRemembered)
	return found, err == nil
}
