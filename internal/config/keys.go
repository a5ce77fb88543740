package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// checkKeys refuses keys that File does not have, with the nearest it has.
func checkKeys(root *yaml.Node) error { return checkType(root, reflect.TypeFor[File](), "the file") }

func checkType(n *yaml.Node, t reflect.Type, what string) error {
	if inner, ok := reflect.New(t).Interface().(interface{ inner() reflect.Type }); ok {
		return checkType(n, inner.inner(), what)
	}
	if t == reflect.TypeFor[yaml.Node]() || n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return checkStruct(n, t, what)
	case reflect.Map:
		if n.Kind != yaml.MappingNode {
			return lineError(n.Line, what+" must be a mapping (key: value)")
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if err := checkType(n.Content[i+1], t.Elem(), n.Content[i].Value); err != nil {
				return err
			}
		}
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			return lineError(n.Line, what+" must be a list")
		}
		for _, c := range n.Content {
			if c.Kind == yaml.ScalarNode && c.Tag == "!!null" {
				return lineError(c.Line, "empty item in "+what)
			}
			if err := checkType(c, t.Elem(), "an item of "+what); err != nil {
				return err
			}
		}
	default:
		if n.Kind != yaml.ScalarNode {
			return lineError(n.Line, what+" must be one value")
		}
	}
	return nil
}

func checkStruct(n *yaml.Node, t reflect.Type, what string) error {
	if n.Kind != yaml.MappingNode {
		return lineError(n.Line, what+" must be a mapping (key: value)")
	}
	fields := map[string]reflect.Type{}
	var names []string
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("yaml")
		fields[name] = t.Field(i).Type
		names = append(names, name)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		field, ok := fields[key.Value]
		if !ok {
			return lineError(key.Line, fmt.Sprintf("%q is not known in %s%s", cut(key.Value), what, nearest(key.Value, names)))
		}
		if err := checkType(n.Content[i+1], field, key.Value); err != nil {
			return err
		}
	}
	return nil
}

// nearest proposes the known name that was probably meant, else lists them.
func nearest(name string, known []string) string {
	best, distance := "", len(name)/2+1
	for _, k := range known {
		if d := edits(strings.ToLower(name), k); d < distance {
			best, distance = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	known = slices.Sorted(slices.Values(known))
	return "; known are " + strings.Join(known, ", ")
}

// edits is the Levenshtein distance of two short names.
func edits(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
