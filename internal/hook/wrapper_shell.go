package hook

import (
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// interpreters run what they read, where no file is named.
var interpreters = map[string]bool{"python": true, "python2": true, "python3": true, "perl": true, "ruby": true, "node": true, "php": true, "lua": true}

// keptForLater is what a shell is told to run at another time.
func keptForLater(name string, words []word) ([]started, string) {
	var lines []started
	for _, w := range words {
		text := w.text
		if name == "alias" {
			_, text, _ = strings.Cut(text, "=")
		}
		switch {
		case !w.known:
			return nil, onlyThen
		case text != "" && text != "-" && text != "--":
			lines = append(lines, started{source: text})
		}
		if name == "trap" { // then come signals
			break
		}
	}
	return lines, ""
}

const fromAnother = "it reads its commands from another program"

// readBy is what a shell, or source, reads where it is told to.
func readBy(words []word, stdin input) ([]started, string) {
	switch {
	case len(words) > 0 && !words[0].known:
		return nil, onlyThen
	case len(words) > 0 && !ownInput(words[0].text):
		return nil, "" // a script: a program like any other
	case stdin.text != "":
		return []started{{source: stdin.text}}, ""
	case stdin.piped:
		return nil, fromAnother
	}
	return nil, ""
}

// ownInput reports the names of a program's standard input.
func ownInput(path string) bool {
	switch path {
	case "-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0":
		return true
	}
	return false
}

func startedByShell(words []word, stdin input) ([]started, string) {
	for i := 0; i < len(words); i++ {
		w := words[i]
		letters := (strings.HasPrefix(w.text, "-") || strings.HasPrefix(w.text, "+")) && !strings.HasPrefix(w.text, "--") && w.text != "-"
		switch {
		case !w.known:
			return nil, onlyThen
		case w.text == "--version" || w.text == "--help":
			return nil, ""
		case w.text == "--rcfile" || w.text == "--init-file":
			return nil, onlyThen
		case letters && strings.Contains(w.text, "c"):
			rest := operands(words[i+1:])
			rest = rest[min(named(w.text), len(rest)):]
			if len(rest) == 0 {
				return nil, ""
			}
			return sourceOf(rest[:1])
		case letters:
			i += named(w.text)
		case !strings.HasPrefix(w.text, "--"):
			return readBy(words[i:], stdin)
		}
	}
	return readBy(nil, stdin)
}

// named is how many of a shell's options in one word are followed by a name,
// as "pipefail" follows -euo.
func named(options string) int { return strings.Count(options, "o") + strings.Count(options, "O") }

// subscripts are builtins that evaluate what stands between brackets in their
// words, quoted or not.
var subscripts = map[string]bool{"let": true, "test": true, "[": true, "printf": true, "read": true, "unset": true, "mapfile": true, "readarray": true, "wait": true, "getopts": true}

// evaluates reports a word in which such a builtin finds a program to run.
func evaluates(name string, words []word) bool {
	if !subscripts[name] || name == "printf" && !slices.ContainsFunc(words, func(w word) bool { return strings.HasPrefix(w.text, "-v") }) {
		return false
	}
	return slices.ContainsFunc(words, func(w word) bool {
		return w.known && evaluated(w.text)
	})
}

// evaluated reports a program to run within brackets.
func evaluated(text string) bool {
	_, inside, ok := strings.Cut(text, "[")
	return ok && (strings.Contains(inside, "$(") || strings.Contains(inside, "`"))
}

// subscripted reports such a word of what is syntax rather than a builtin.
func subscripted(clause syntax.Node) (found bool) {
	syntax.Walk(clause, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Lit:
			found = found || evaluated(n.Value)
		case *syntax.SglQuoted:
			found = found || evaluated(n.Value)
		}
		return !found
	})
	return found
}
