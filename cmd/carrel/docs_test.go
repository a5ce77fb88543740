//go:build linux

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// said finds `carrel VERB …` in prose and in examples, up to the end of the
// line, the quotation, or what follows the command.
var (
	said = regexp.MustCompile("(?m)(?:`|^\\s+(?:\\$ )?|&& |; )carrel((?: [^`\\n|;&#]*)?)")
	flag = regexp.MustCompile(`(?:^|[\s(\x60])--([a-z][a-z-]+)`)
)

// everyFlag is what flags in prose may name: flags of other programs that the
// documents speak of are listed with them.
func everyFlag(root *cobra.Command) map[string]bool {
	out := map[string]bool{"help": true, "version": true, "install": true, "reference": true, "schema": true, "namespace": true}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, name := range flagNames(c) {
			out[name] = true
		}
		for _, child := range c.Commands() {
			walk(child)
		}
	}
	walk(root)
	return out
}

func flagNames(c *cobra.Command) []string {
	var out []string
	for _, word := range flag.FindAllStringSubmatch(c.UsageString(), -1) {
		out = append(out, word[1])
	}
	return out
}

// TestDocsNameVerbsAndFlagsThatExist reads every document and every help text.
func TestDocsNameVerbsAndFlagsThatExist(t *testing.T) {
	root := (&app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}).root(nil)
	flags := everyFlag(root)
	commands := 0
	for where, text := range documents(t, root) {
		for _, found := range said.FindAllStringSubmatch(text, -1) {
			before, _, _ := strings.Cut(found[1]+" ", " -- ")
			words := strings.Fields(before)
			if len(words) == 0 || strings.HasPrefix(words[0], "-") || words[0] == "VERB" {
				continue
			}
			commands++
			checkCommand(t, where, root, words)
		}
		for _, found := range flag.FindAllStringSubmatch(text, -1) {
			if !flags[found[1]] {
				t.Errorf("%s names --%s, which no verb has", where, found[1])
			}
		}
	}
	if commands < 20 {
		t.Errorf("found %d commands in the documents; the search is broken", commands)
	}
}

func checkCommand(t *testing.T, where string, root *cobra.Command, words []string) {
	t.Helper()
	verb, _, err := root.Find(words)
	if err != nil || verb == root {
		t.Errorf("%s says carrel %s, and there is no such verb", where, strings.Join(words, " "))
		return
	}
	have := strings.Join(flagNames(verb), " ") + " "
	for _, found := range flag.FindAllStringSubmatch(strings.Join(words, " "), -1) {
		if !strings.Contains(" "+have, " "+found[1]+" ") {
			t.Errorf("%s says carrel %s, and %s has no --%s", where, strings.Join(words, " "), verb.CommandPath(), found[1])
		}
	}
}

// documents returns the pages of the project and the help texts, by name.
func documents(t *testing.T, root *cobra.Command) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "spec/*.md", "changelog/*/*.md"} {
		found, err := filepath.Glob(filepath.Join("..", "..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			out[path] = string(text)
		}
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		out[c.CommandPath()+" --help"] = c.Long
		for _, child := range c.Commands() {
			walk(child)
		}
	}
	walk(root)
	return out
}
