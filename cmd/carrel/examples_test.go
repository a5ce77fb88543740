//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/config"
	"github.com/carrel-dev/carrel/internal/policy"
	"github.com/carrel-dev/carrel/verify"
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
	for _, page := range []string{"docs/configuration.md", "docs/evidence.md"} {
		for _, text := range examples(t, page, "yaml") {
			if _, err := config.Parse(source, []byte(text)); err != nil {
				t.Errorf("%s: %v", page, err)
			}
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

func TestMergePolicyInDocsAnswers(t *testing.T) {
	for _, text := range examples(t, "docs/evidence.md", "rego") {
		layer := policy.Layer{Name: "docs", Kind: policy.Organisation, Files: []policy.File{{Name: "merge.rego", Source: []byte(text)}}}
		d := verify.Document{
			Repository: "https://git.example.test/team/project.git", Base: verify.BaseDocument{Commit: "a"},
			Commit: &verify.CommitDocument{Parents: []string{"a"}}, Tier: "native", TraceComplete: true,
			Controls:  map[carrel.Control]carrel.Level{carrel.ControlNetwork: carrel.Enforced},
			Approvals: []verify.ApprovalParameter{{By: "1000:maintainer"}},
		}
		if answer, err := policy.AskAbout(layer, d); err != nil || answer.Verdict != carrel.Allow {
			t.Errorf("docs/evidence.md: %+v, %v", answer, err)
		}
		d.Destinations = []verify.Destination{{Host: "evil.test", Allowed: 1}}
		if answer, err := policy.AskAbout(layer, d); err != nil || answer.Verdict != carrel.Deny {
			t.Errorf("docs/evidence.md, with another destination: %+v, %v", answer, err)
		}
	}
}
