package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/policies"
)

// classFile says which names make a path one of a class: policies/classes.txt.
const classFile = "classes.txt"

// Two more classes are about how a name reads on Windows.
const (
	classWindowsName   = "windows-name"
	classWindowsDevice = "windows-device"
)

// classTable is classes.txt, read.
type classTable struct {
	parts    map[string]string // a folded part of the path, and its class
	prefixes map[string]string // beginnings and ends of the last component
	suffixes map[string]string
	commands map[string][]command // by program
}

// command is a class of commands: words that are among the first arguments.
type command struct {
	class string
	words []string
}

// classes reads the table once. A build whose table cannot be read does not
// pass its tests, and at run time classifies nothing it would deny: New refuses.
var classes = sync.OnceValues(func() (*classTable, error) {
	text, err := policies.Bundle.ReadFile(classFile)
	if err != nil {
		return nil, fmt.Errorf("reading the classes of paths: %w", err)
	}
	t := &classTable{map[string]string{}, map[string]string{}, map[string]string{}, map[string][]command{}}
	for line := range strings.Lines(string(text)) {
		class, names, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if class, ok := strings.CutPrefix(class, "$"); ok {
			words := strings.Fields(names)
			t.commands[words[0]] = append(t.commands[words[0]], command{class, words[1:]})
			continue
		}
		for name := range strings.FieldsSeq(names) {
			t.add(class, name)
		}
	}
	return t, nil
})

func (t *classTable) add(class, name string) {
	if end, ok := strings.CutPrefix(name, "*"); ok {
		t.suffixes[end] = class
	} else if start, ok := strings.CutSuffix(name, "*"); ok {
		t.prefixes[start] = class
	} else {
		t.parts[name] = class
	}
}

// of returns the classes of a path with these folded parts, sorted.
func (t *classTable) of(path string, parts []string) []string {
	var out []string
	add := func(class string) {
		if class != "" && !slices.Contains(out, class) {
			out = append(out, class)
		}
	}
	for _, part := range parts {
		add(t.parts[part])
	}
	last := lastComponent(parts)
	for start, class := range t.prefixes {
		if strings.HasPrefix(last, start) && len(last) > len(start) {
			add(class)
		}
	}
	for i := range len(last) { // ".tf.json" and ".json" both end a name
		if last[i] == '.' {
			add(t.suffixes[last[i:]])
		}
	}
	for _, class := range windowsClasses(path, parts) {
		add(class)
	}
	slices.Sort(out)
	return out
}

// lastComponent is the last single one of parts: n components are followed by
// n-1 pairs.
func lastComponent(parts []string) string {
	if len(parts) == 0 {
		return ""
	}
	return parts[(len(parts)+1)/2-1]
}

// windowsName finds names that mean something else on Windows: a backslash, a
// stream, a trailing dot or space, a short name.
var windowsName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\\|::?\$|[. ](/|$)|/[^/.]{1,6}~[0-9](\.[^/.]{1,3})?(/|$)`)
})

func windowsClasses(path string, parts []string) []string {
	var out []string
	if (!plain(path) || strings.Contains(path, "~")) && windowsName().MatchString(path) {
		out = append(out, classWindowsName)
	}
	for _, part := range parts {
		if stem, _, _ := strings.Cut(part, "."); deviceName(stem) {
			return append(out, classWindowsDevice)
		}
	}
	return out
}

// deviceName reports whether Windows takes a name for a device, whatever its
// extension.
func deviceName(stem string) bool {
	switch stem {
	case "con", "prn", "aux", "nul", "conin$", "conout$":
		return true
	}
	return len(stem) == 4 && (stem[:3] == "com" || stem[:3] == "lpt") && '1' <= stem[3] && stem[3] <= '9'
}

// wordsLooked is how many arguments that are no flags say what a command does.
const wordsLooked = 4

// classOperates is for Carrel's own verbs, before which any number of flags
// with values can stand: of these commands all words are looked at.
const classOperates = "operates-carrel"

// ofCommand returns the classes of a command, sorted. It reads what the
// program is called, as the shell would: whoever means to evade it can.
func (t *classTable) ofCommand(programs []string, argv []carrel.Text) []string {
	var out []string
	for _, program := range programs {
		for _, c := range t.commands[program] {
			words := plainWords(argv, c.class == classOperates)
			missing := func(word string) bool { return !slices.Contains(words, word) }
			if !slices.Contains(out, c.class) && !slices.ContainsFunc(c.words, missing) {
				out = append(out, c.class)
			}
		}
	}
	slices.Sort(out)
	return out
}

// plainWords returns the first arguments that are no flags, or all of them up
// to the end of flags.
func plainWords(argv []carrel.Text, all bool) []string {
	var out []string
	for _, arg := range argv[1:] {
		if all && arg == "--" {
			break
		}
		if !strings.HasPrefix(string(arg), "-") && (all || len(out) < wordsLooked) {
			out = append(out, string(arg))
		}
	}
	return out
}

// programName is the last component of the program, folded, without the
// extension that Windows adds.
func programName(a carrel.Action) string {
	if a.Path != "" {
		return foldedProgram(a.Path)
	}
	return foldedProgram(string(a.Argv[0]))
}

// programNames are what the program goes by, sorted: the name of its file, and
// the one it is started under, for many are links (npm to npm-cli.js, cargo to
// rustup) and either name can be somebody's disguise.
func programNames(a carrel.Action) []string {
	out := []string{programName(a), foldedProgram(string(a.Argv[0]))}
	slices.Sort(out)
	return slices.Compact(out)
}

func foldedProgram(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	return strings.TrimSuffix(foldName(strings.ToValidUTF8(name, "\ufffd")), ".exe")
}
