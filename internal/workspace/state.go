package workspace

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

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

// readGob reads what is large and read back by this release alone. A file that
// is not there leaves v as it is.
func readGob(path string, v any) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return gob.NewDecoder(f).Decode(v)
}

func writeGob(path string, v any, replace func(string, []byte) error) error {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		return err
	}
	return replace(path, b.Bytes())
}
