package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/carrel-dev/carrel/internal/private"
)

// Document is a configuration file while it is edited; comments and order stay.
type Document struct{ root *yaml.Node }

// Set writes a value under nested keys, making what is missing.
func (d *Document) Set(value string, keys ...string) error {
	n := d.root
	for i, key := range keys {
		if n.Kind != yaml.MappingNode {
			if n.Kind != yaml.ScalarNode || n.Tag != "!!null" {
				return fmt.Errorf("%s is no mapping", keys[max(0, i-1)])
			}
			*n = yaml.Node{Kind: yaml.MappingNode, HeadComment: n.HeadComment, LineComment: n.LineComment, FootComment: n.FootComment}
		}
		n = child(n, key)
	}
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("%s is not a single value", keys[len(keys)-1])
	}
	n.SetString(value)
	return nil
}

func child(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	k, v := &yaml.Node{}, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	k.SetString(key)
	n.Content = append(n.Content, k, v)
	return v
}

// Remember edits the user's configuration in place: other content, comments
// and order stay. What edit leaves must be a valid configuration, else nothing
// is written. A link (a dotfile manager's) is followed, so that it stays one.
func Remember(s Source, edit func(*Document) error) error {
	if target, err := filepath.EvalSymlinks(s.Path); err == nil {
		s.Path = target
	}
	err := private.Locked(filepath.Dir(s.Path), func() error {
		raw, err := os.ReadFile(s.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		edited, err := edited(s, raw, edit)
		if err != nil {
			return err
		}
		return private.Replace(s.Path, edited)
	})
	if err != nil {
		return fmt.Errorf("remembering in %s: %w", s.Path, err)
	}
	return nil
}

func edited(s Source, raw []byte, edit func(*Document) error) ([]byte, error) {
	if _, err := Parse(s, raw); err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	if doc.Kind == 0 { // empty, or only comments, which are kept in front
		doc = yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.MappingNode}}}
	} else {
		raw = nil
	}
	if err := edit(&Document{doc.Content[0]}); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if len(bytes.TrimSpace(raw)) > 0 {
		out.Write(append(bytes.TrimRight(raw, "\n"), '\n'))
	}
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(&doc), enc.Close()); err != nil {
		return nil, err
	}
	if _, err := Parse(s, out.Bytes()); err != nil {
		return nil, fmt.Errorf("the edit would break it: %w", err)
	}
	return out.Bytes(), nil
}

// RememberProfile keeps the user's choice of a profile for a command.
func RememberProfile(s Source, command, profile string) error {
	return Remember(s, func(d *Document) error { return d.Set(profile, "profile", command) })
}
