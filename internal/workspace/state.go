package workspace

import (
	"encoding/json"
	"fmt"

	"github.com/carrel-dev/carrel/internal/private"
)

// maxState bounds a file of state when it is read back.
const maxState = 64 << 20

func readJSON(path string, v any) error {
	b, err := private.Read(path, maxState)
	if err != nil {
		return fmt.Errorf("reading state: %w", err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("reading state %s: %w", path, err)
	}
	return nil
}

// writeJSON replaces path: after a crash it holds the old or the new value.
func writeJSON(path string, v any) error { return writeState(path, v, private.Replace) }

// writeJSONLater is writeJSON for what may be lost, but not torn, in a power
// cut: it does not wait for the disk.
func writeJSONLater(path string, v any) error { return writeState(path, v, private.ReplaceSoon) }

func writeState(path string, v any, replace func(string, []byte) error) error {
	b, err := json.Marshal(v)
	if err == nil {
		err = replace(path, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("writing state: %w", err)
	}
	return nil
}
