//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/policy"
)

// examples returns what a page shows in its fenced blocks of a language.
func examples(t *testing.T, page, language string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", page))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, found := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllSubmatch(text, -1) {
		out = append(out, string(found[1]))
	}
	if len(out) == 0 {
		t.Fatalf("%s shows no %s", page, language)
	}
	return out
}

func TestConfigurationInDocsIsRead(t *testing.T) {
	source := config.Source{Layer: config.User, Path: "/home/u/.config/carrel/config.yaml", Home: "/home/u"}
	for _, text := range examples(t, "docs/configuration.md", "yaml") {
		if _, err := config.Parse(source, []byte(text)); err != nil {
			t.Errorf("docs/configuration.md: %v", err)
		}
	}
}

func TestPoliciesInDocsCompile(t *testing.T) {
	for _, page := range []string{"docs/configuration.md", "spec/policy-input.md"} {
		for _, text := range examples(t, page, "rego") {
			path := filepath.Join(t.TempDir(), "policy.rego")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			layer, err := policy.FromPath("docs", policy.User, path)
			if err == nil {
				_, err = policy.New(context.Background(), layer)
			}
			if err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}
