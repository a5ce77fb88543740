package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

const schemaFile = "../../spec/config.schema.json"

// The published schema is that of the code. UPDATE=1 writes it anew.
func TestPublishedSchemaIsTheCodes(t *testing.T) {
	want, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE") == "1" {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil || string(got) != string(want) {
		t.Errorf("spec/config.schema.json is not what the code says (%v); write it with UPDATE=1 go test ./internal/config", err)
	}
}

// fits checks a value against the words of JSON Schema that Schema uses.
func fits(schema map[string]any, v any, where string) error {
	kind := map[bool]string{true: "null"}[v == nil]
	switch v := v.(type) {
	case map[string]any:
		kind = "object"
		properties, _ := schema["properties"].(map[string]any)
		for name, member := range v {
			inner, ok := properties[name].(map[string]any)
			if !ok {
				inner, ok = schema["additionalProperties"].(map[string]any)
			}
			if !ok && schema["additionalProperties"] == false {
				return fmt.Errorf("%s.%s is not known", where, name)
			}
			if err := fits(inner, member, where+"."+name); err != nil {
				return err
			}
		}
	case []any:
		kind = "array"
		items, _ := schema["items"].(map[string]any)
		for i, item := range v {
			if err := fits(items, item, fmt.Sprintf("%s[%d]", where, i)); err != nil {
				return err
			}
		}
	case string:
		kind = "string"
		if words, ok := schema["enum"].([]any); ok && !slices.Contains(words, any(v)) {
			return fmt.Errorf("%s: %q is none of %v", where, v, words)
		}
	case bool:
		kind = "boolean"
	case int:
		kind = "integer"
	}
	switch types := schema["type"].(type) {
	case string:
		if types != kind {
			return fmt.Errorf("%s is %s, not %s", where, kind, types)
		}
	case []any:
		if !slices.Contains(types, any(kind)) {
			return fmt.Errorf("%s is %s, none of %v", where, kind, types)
		}
	}
	return nil
}

func checkSchema(t *testing.T, text string) error {
	t.Helper()
	raw, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return fits(schema, value, "file")
}

// What the documents show fits the schema, and is read.
func TestDocumentedConfigurationFitsTheSchema(t *testing.T) {
	pages, err := filepath.Glob("../../docs/configuration.md")
	if err != nil || len(pages) != 1 {
		t.Fatal(err)
	}
	text, err := os.ReadFile(pages[0])
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1)
	if len(found) == 0 {
		t.Fatal("the page shows no configuration")
	}
	for _, f := range found {
		if err := checkSchema(t, string(f[1])); err != nil {
			t.Error(err)
		}
	}
	if err := checkSchema(t, ""); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

// What an editor marks as wrong is refused when it is read, too.
func TestSchemaAndParserRefuseAlike(t *testing.T) {
	for _, text := range []string{
		"egres: []\n", "egress: {host: x}\n", "egress: [{hosts: x}]\n", "limits: {memory: [1]}\n", "limits: {cpus: 3}\n", "home: maybe\n",
		"staging: none\n", "env: EDITOR\n", "services: [{name: db, address: 7}]\n", "identity: [a]\n", "egress: [{host: x, protocol: udp}]\n", "commands: never\n",
	} {
		if _, err := Parse(Source{Layer: User, Path: "/home/u/config.yaml", Home: "/home/u"}, []byte(text)); err == nil {
			t.Errorf("%q is read", text)
		}
		if err := checkSchema(t, text); err == nil {
			t.Errorf("%q fits the schema", text)
		}
	}
}
