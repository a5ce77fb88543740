package hook

import (
	"strings"
)

// started is a program that another one starts: its words, or a command line
// that a shell would read.
type started struct {
	words  []word
	source string
}

// wrapper says how to find the program among the words of one that starts
// another.
type wrapper struct {
	valued      string // letters of options that take the next word
	longs       string // long options that take the next word, with a space on both sides
	skip        int    // operands before the program
	assignments bool   // NAME=VALUE words before it
}

// wrappers are programs whose words name another program. The list is what
// people and agents use; a program that is not in it is judged by its own name.
var wrappers = map[string]wrapper{
	"env":        {valued: "uC", longs: " --unset --chdir ", assignments: true},
	"sudo":       {valued: "ugCDhpRrTtU", longs: " --user --group --chdir --host --prompt --role --type --chroot --close-from --command-timeout --other-user ", assignments: true},
	"doas":       {valued: "uC"},
	"nice":       {valued: "n", longs: " --adjustment "},
	"ionice":     {valued: "cn", longs: " --class --classdata "},
	"chrt":       {valued: "TPD", skip: 1},
	"taskset":    {skip: 1},
	"nohup":      {},
	"setsid":     {},
	"stdbuf":     {valued: "ioe", longs: " --input --output --error "},
	"timeout":    {valued: "ks", longs: " --kill-after --signal ", skip: 1},
	"time":       {valued: "of", longs: " --output --format "},
	"command":    {},
	"builtin":    {},
	"exec":       {valued: "a"},
	"xargs":      {valued: "aEdIiLlnPs", longs: " --arg-file --delimiter --replace --max-lines --max-args --max-procs --max-chars "},
	"parallel":   {valued: "jaIN", longs: " --jobs --arg-file --max-args "},
	"watch":      {valued: "nq", longs: " --interval "},
	"strace":     {valued: "eoPpSsuaE", longs: " --output --trace "},
	"chroot":     {longs: " --userspec --groups ", skip: 1},
	"unshare":    {valued: "SGRw", longs: " --root --wd --setuid --setgid "},
	"busybox":    {},
	"caffeinate": {valued: "tw"},
}

// shells read commands from -c, from a file, or from their input.
var shells = map[string]bool{"sh": true, "bash": true, "dash": true, "zsh": true, "ksh": true, "mksh": true, "ash": true, "fish": true, "rbash": true}

const onlyThen = "what it would run is known only when it runs"

// startedBy returns the programs that a program starts as far as its words say
// so, and why that cannot be told, if it cannot.
func startedBy(name string, words []word, stdin input) (inner []started, unclear string) {
	switch {
	case shells[name]:
		return startedByShell(words, stdin)
	case name == "eval":
		return sourceOf(words)
	case name == "find" || name == "fd":
		return startedByFind(words)
	case name == "git":
		return startedByGit(words)
	}
	w, ok := wrappers[name]
	if !ok {
		return nil, ""
	}
	if name == "env" {
		if split, rest := cutSplitString(words); split != nil {
			return sourceOf(append([]word{*split}, rest...))
		}
	}
	if name == "command" && len(words) > 0 && (words[0].text == "-v" || words[0].text == "-V") {
		return nil, ""
	}
	rest, why := w.program(words)
	if why != "" || len(rest) == 0 {
		return nil, why
	}
	return []started{{words: rest}}, ""
}

// program returns the words from the wrapped program on.
func (w wrapper) program(words []word) ([]word, string) {
	skip := w.skip
	for i := 0; i < len(words); i++ {
		word := words[i]
		switch {
		case word.text == "--":
			if len(words)-i-1 <= skip {
				return nil, ""
			}
			return words[i+1+skip:], ""
		case strings.HasPrefix(word.text, "--"):
			if strings.Contains(w.longs, " "+word.text+" ") {
				i++
			}
		case len(word.text) > 1 && word.text[0] == '-':
			if last := word.text[len(word.text)-1]; strings.IndexByte(w.valued, last) >= 0 {
				i++
			}
		case w.assignments && strings.Contains(word.text, "=") && !strings.HasPrefix(word.text, "="):
		case skip > 0:
			skip--
		case !word.known:
			return nil, onlyThen
		default:
			return words[i:], ""
		}
	}
	return nil, ""
}

// cutSplitString finds env -S "a command line".
func cutSplitString(words []word) (*word, []word) {
	for i, w := range words {
		if !strings.HasPrefix(w.text, "-") {
			return nil, nil
		}
		for _, option := range []string{"-S", "-vS", "--split-string"} {
			if w.text == option && i+1 < len(words) {
				return &words[i+1], words[i+2:]
			}
			if rest, ok := strings.CutPrefix(w.text, option); ok && rest != "" {
				return &word{strings.TrimPrefix(rest, "="), w.known}, words[i+1:]
			}
		}
	}
	return nil, nil
}

// sourceOf is what eval makes of its words.
func sourceOf(words []word) ([]started, string) {
	parts := make([]string, len(words))
	for i, w := range words {
		if !w.known {
			return nil, onlyThen
		}
		parts[i] = w.text
	}
	return []started{{source: strings.Join(parts, " ")}}, ""
}

func startedByShell(words []word, stdin input) ([]started, string) {
	for i, w := range words {
		switch {
		case !w.known:
			return nil, onlyThen
		case !strings.HasPrefix(w.text, "-") && !strings.HasPrefix(w.text, "+"), w.text == "-":
			return nil, "" // a script: a program like any other
		case w.text == "--version" || w.text == "--help":
			return nil, ""
		case !strings.HasPrefix(w.text, "--") && strings.Contains(w.text, "c"):
			rest := operands(words[i+1:])
			if len(rest) == 0 {
				return nil, ""
			}
			return sourceOf(rest[:1])
		case w.text == "-o" || w.text == "-O" || w.text == "--rcfile" || w.text == "--init-file":
			return nil, onlyThen
		}
	}
	switch {
	case stdin.text != "":
		return []started{{source: stdin.text}}, ""
	case stdin.piped:
		return nil, "it reads its commands from another program"
	}
	return nil, ""
}

// startedByFind collects what follows -exec and its like.
func startedByFind(words []word) (out []started, unclear string) {
	for i := 0; i < len(words); i++ {
		switch words[i].text {
		case "-exec", "-execdir", "-ok", "-okdir", "-x", "-X", "--exec", "--exec-batch":
		default:
			continue
		}
		end := i + 1
		for end < len(words) && words[end].text != ";" && words[end].text != "+" {
			end++
		}
		if end > i+1 {
			if !words[i+1].known {
				return nil, onlyThen
			}
			out = append(out, started{words: words[i+1 : end]})
		}
		i = end
	}
	return out, ""
}

// startedByGit finds the commands that settings on git's own command line
// have it run.
func startedByGit(words []word) (out []started, unclear string) {
	for i, w := range words {
		setting := strings.TrimPrefix(w.text, "-c")
		if w.text == "-c" && i+1 < len(words) {
			w = words[i+1]
			setting = w.text
		} else if !strings.HasPrefix(w.text, "-c") {
			continue
		}
		name, value, ok := strings.Cut(setting, "=")
		name = strings.ToLower(name)
		runs := strings.HasPrefix(value, "!") || strings.HasSuffix(name, "command") || strings.HasSuffix(name, "pager") ||
			strings.HasSuffix(name, "editor") || strings.HasSuffix(name, "program") || name == "core.fsmonitor" || name == "core.hookspath"
		switch {
		case !ok || !runs:
		case !w.known:
			return nil, onlyThen
		case name == "core.hookspath":
			return nil, "a setting has it run what lies in " + value
		default:
			out = append(out, started{source: strings.TrimPrefix(value, "!")})
		}
	}
	return out, ""
}
