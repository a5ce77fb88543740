package config

import (
	"encoding/json"
	"maps"
	"reflect"

	"strings"

	"go.yaml.in/yaml/v3"
)

// object is a part of a JSON Schema.
type object = map[string]any

// choices are the words that some keys take.
var choices = map[string][]string{
	"home": {"keep", "discard"}, "staging": {"overlay", "copy"}, "protocol": {"tls", "http", "tcp"}, "commands": {"off", "record", "decide"}, "missing": {"tell", "refuse"},
}

// forms are what values of types of their own look like in a file.
var forms = map[reflect.Type]object{
	reflect.TypeFor[Size]():      {"type": []string{"string", "integer"}, "description": "bytes, or with K, M, G, T: 512M"},
	reflect.TypeFor[Duration]():  {"type": []string{"string", "integer"}, "description": "as in 30m or 1h30m"},
	reflect.TypeFor[yaml.Node](): {"type": "object", "description": "a profile: docs/configuration.md"},
}

// Schema is the JSON Schema (2020-12) of a configuration file, for editors.
// It says which keys there are and of which shape; reading a file checks more.
func Schema() ([]byte, error) {
	s := schemaOf(reflect.TypeFor[File](), "")
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Carrel's configuration"
	s["type"] = []string{"object", "null"} // an empty file
	text, err := json.MarshalIndent(s, "", "  ")
	return append(text, '\n'), err
}

func schemaOf(t reflect.Type, key string) object {
	if v, ok := reflect.New(t).Interface().(interface{ inner() reflect.Type }); ok {
		return schemaOf(v.inner(), key)
	}
	if form, ok := forms[t]; ok {
		return maps.Clone(form)
	}
	switch t.Kind() {
	case reflect.Struct:
		return structSchema(t)
	case reflect.Map:
		return object{"type": []string{"object", "null"}, "additionalProperties": schemaOf(t.Elem(), "")}
	case reflect.Slice:
		return object{"type": []string{"array", "null"}, "items": schemaOf(t.Elem(), "")}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer"}
	}
	s := object{"type": "string"}
	if words := choices[key]; words != nil {
		s["enum"] = words
	}
	return s
}

func structSchema(t reflect.Type) object {
	properties := object{}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name != "" && name != "-" {
			properties[name] = schemaOf(t.Field(i).Type, name)
		}
	}
	return object{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
}
