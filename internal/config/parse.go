package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/carrel-dev/carrel/internal/private"
)

// maxFile bounds a configuration file; people write a few hundred lines.
const maxFile = 1 << 20

// maxDepth bounds nesting: the schema needs five levels.
const maxDepth = 32

// Source says what is parsed.
type Source struct {
	Layer Layer
	Path  string // shown in messages; relative paths of the organisation and the user are relative to its directory
	Home  string // the user's home, for "~/"
}

// Load reads the file of s. A file that does not exist is an empty one. One
// that anybody could have written is refused, for it grants; root may read
// anybody's, as it does when it acts for the user whose home it uses.
func Load(s Source) (*File, error) {
	f, err := os.Open(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return &File{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the %s's configuration: %w", s.Layer, err)
	}
	defer f.Close()
	if err := private.CheckWriters(f); err != nil {
		return nil, fmt.Errorf("reading the %s's configuration: %s %w", s.Layer, s.Path, err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the %s's configuration: %w", s.Layer, err)
	}
	return Parse(s, raw)
}

// Parse reads one configuration file. Unknown and repeated keys, anchors,
// tags and values of another shape are errors that name file and line.
func Parse(s Source, raw []byte) (*File, error) {
	root, err := parseNode(raw)
	if err != nil {
		return nil, inFile(s, err)
	}
	f := &File{}
	if root == nil {
		return f, nil
	}
	if err := checkKeys(root); err != nil {
		return nil, inFile(s, err)
	}
	if err := root.Decode(f); err != nil {
		return nil, inFile(s, err)
	}
	f.stamp(s)
	if err := f.validate(s); err != nil {
		return nil, inFile(s, err)
	}
	return f, nil
}

// parseNode returns the root of the one document, or nil if there is none.
func parseNode(raw []byte) (*yaml.Node, error) {
	if len(raw) > maxFile {
		return nil, fmt.Errorf("larger than %d bytes", maxFile)
	}
	if !utf8.Valid(raw) {
		return nil, errors.New("not valid UTF-8")
	}
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, lineError(more.Line, "a second document")
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	return root, plainNode(root, 0)
}

// plainNode refuses what a reader could overlook: anchors and aliases, tags,
// and keys that are said twice.
func plainNode(n *yaml.Node, depth int) error {
	switch {
	case depth > maxDepth:
		return lineError(n.Line, fmt.Sprintf("nested deeper than %d", maxDepth))
	case n.Anchor != "" || n.Kind == yaml.AliasNode:
		return lineError(n.Line, "anchors and aliases are not accepted; write the value out")
	case n.Style&yaml.TaggedStyle != 0:
		return lineError(n.Line, "tags are not accepted")
	}
	seen := map[string]int{}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			if line, ok := seen[c.Value]; ok {
				return lineError(c.Line, fmt.Sprintf("%q is already said in line %d", cut(c.Value), line))
			}
			seen[c.Value] = c.Line
		}
		if err := plainNode(c, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// located is an error that knows its line.
type located struct {
	line int
	msg  string
}

func (e *located) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.msg) }

func lineError(line int, msg string) error { return &located{line, msg} }

// inFile puts file and line in front, whoever found the error.
func inFile(s Source, err error) error {
	var l *located
	if errors.As(err, &l) {
		return fmt.Errorf("%s:%d: %s", s.Path, l.line, l.msg)
	}
	msg := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:\n  ")
	msg, more, _ := strings.Cut(msg, "\n")
	var line int
	if n, _ := fmt.Sscanf(msg, "line %d:", &line); n == 1 {
		_, msg, _ = strings.Cut(msg, ": ")
		msg = fmt.Sprintf("%s:%d: %s", s.Path, line, cut(msg))
	} else {
		msg = fmt.Sprintf("%s: %s", s.Path, cut(msg))
	}
	if n := strings.Count(more, "\n") + 1; more != "" {
		msg += fmt.Sprintf(" (and %d more)", n)
	}
	return errors.New(msg)
}

// maxShown bounds text of a file in a message: the file may be a stranger's.
const maxShown = 200

// cut makes text safe to show: escaped, and not longer than people read.
func cut(s string) string {
	var b strings.Builder
	for i, r := range s {
		if i > maxShown {
			return b.String() + "…"
		}
		if r < ' ' || r > '~' {
			fmt.Fprintf(&b, "\\u{%x}", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
