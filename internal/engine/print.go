package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/internal/terminal"
)

// encodeJSON writes v indented, with everything that could steer a terminal
// or hide from a reader escaped.
func encodeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encoding JSON: %w", err)
	}
	_, err := w.Write(terminal.EscapeJSON(b.Bytes()))
	return err
}

// listed is a list as JSON shows it: an empty one where there is nothing, so
// that who reads it need not ask whether there is one.
func listed[T any](list []T) []T { return append([]T{}, list...) }

func (e *Records) printJSON(v any) error { return encodeJSON(e.host.Stdout, v) }

// printLine writes v as one line of JSON: one object of a stream.
func (e *Records) printLine(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding JSON: %w", err)
	}
	_, err = e.host.Stdout.Write(append(terminal.EscapeJSON(b), '\n'))
	return err
}

// plural joins a count and a noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "y") {
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(noun, "y"))
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func countFiles(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
