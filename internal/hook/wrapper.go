package hook

import (
	"slices"
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
	"xargs":      {valued: "aEdILnPs", longs: " --arg-file --delimiter --replace --max-lines --max-args --max-procs --max-chars "},
	"parallel":   {valued: "jaIN", longs: " --jobs --arg-file --max-args "},
	"watch":      {valued: "nq", longs: " --interval "},
	"strace":     {valued: "eoPpSsuaE", longs: " --output --trace "},
	"chroot":     {longs: " --userspec --groups ", skip: 1},
	"unshare":    {valued: "SGRw", longs: " --root --wd --setuid --setgid "},
	"busybox":    {},
	"caffeinate": {valued: "tw"},

	"flock":            {valued: "wE", longs: " --timeout --wait --conflict-exit-code ", skip: 1},
	"setpriv":          {longs: " --reuid --regid --groups --inh-caps --ambient-caps --bounding-set --securebits --selinux-label --apparmor-profile "},
	"nsenter":          {valued: "tSG", longs: " --target --setuid --setgid "},
	"systemd-run":      {valued: "pEut", longs: " --property --setenv --unit --slice --uid --gid "},
	"dbus-run-session": {longs: " --config-file "},
	"fakeroot":         {valued: "lisb"},
	"proot":            {valued: "rbqwiv"},
	"ltrace":           {valued: "eopnsuaxlD"},
	"valgrind":         {},
	"entr":             {},
	"toybox":           {},
	"unbuffer":         {},
	"rlwrap":           {},
	"firejail":         {},
	"screen":           {valued: "cehpsSTt"},
	"npx":              {valued: "p", longs: " --package "},
	"bunx":             {},
	"pnpx":             {},
}

// loader reports the program that loads others, which can be called by name.
func loader(name string) bool { return strings.HasPrefix(name, "ld-linux") || name == "ld.so" }

// takesCommand are programs of which -c is followed by a line for a shell.
var takesCommand = map[string]bool{"su": true, "runuser": true, "script": true, "flock": true}

// shells read commands from -c, from a file, or from their input.
var shells = map[string]bool{"sh": true, "bash": true, "dash": true, "zsh": true, "ksh": true, "mksh": true, "ash": true, "fish": true, "rbash": true}

// foreign are shells with another language, which is not read here.
var foreign = map[string]bool{"powershell": true, "pwsh": true, "cmd": true, "wsl": true}

const onlyThen = "what it would run is known only when it runs"

// startedBy returns the programs that a program starts as far as its words say
// so, and why that cannot be told, if it cannot.
func startedBy(name string, words []word, stdin input) (inner []started, unclear string) {
	switch {
	case shells[name]:
		return startedByShell(words, stdin)
	case foreign[name] && (len(words) > 0 || stdin.piped):
		return nil, "its commands are not read"
	case name == "eval":
		return sourceOf(words)
	case (name == "trap" || name == "alias") && len(words) > 0:
		return keptForLater(name, words)
	case name == "source" || name == ".":
		return readBy(words, stdin)
	case interpreters[name] && stdin.piped && (len(operands(words)) == 0 || operands(words)[0].text == "-"):
		return nil, fromAnother
	case evaluates(name, words), name == "hash" && len(valuesOf(name, []string{"-p"}, words)) > 0, name == "enable" && len(valuesOf(name, []string{"-f"}, words)) > 0:
		return nil, onlyThen
	case runsLater(name, words):
		return nil, "it would run something later, when nobody is asked"
	case takesCommand[name]:
		if line := valuesOf(name, []string{"-c", "--command"}, words); len(line) > 0 {
			return sourceOf(line[:1])
		}
		if name != "flock" {
			return nil, ""
		}
	case name == "find" || name == "fd":
		return startedByFind(words)
	case name == "git":
		return startedByGit(words)
	case name == "gdb":
		if at := slices.IndexFunc(words, func(w word) bool { return w.text == "--args" || w.text == "-args" }); at >= 0 && at+1 < len(words) {
			return []started{{words: words[at+1:]}}, ""
		}
		return nil, ""
	case name == "ip":
		if at := slices.IndexFunc(words, func(w word) bool { return w.text == "exec" }); at >= 0 && at+2 < len(words) {
			return []started{{words: words[at+2:]}}, ""
		}
		return nil, ""
	case runOptions[name] != nil:
		return startedByOption(words, runOptions[name])
	}
	w, ok := wrappers[name]
	if !ok && !loader(name) {
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
	if name == "watch" || name == "parallel" { // they hand their words to a shell
		return sourceOf(rest)
	}
	return []started{{words: rest}}, ""
}

// runsLater reports programs that keep a command for another time, or give it
// to a terminal of its own.
func runsLater(name string, words []word) bool {
	has := func(verbs ...string) bool {
		return slices.ContainsFunc(words, func(w word) bool { return !w.known || slices.Contains(verbs, w.text) })
	}
	switch name {
	case "at", "batch":
		return !has("-l", "-q", "-V")
	case "crontab":
		return !has("-l")
	case "tmux":
		return has("new", "new-session", "neww", "new-window", "splitw", "split-window", "send", "send-keys", "respawnp", "respawn-pane", "respawnw", "respawn-window",
			"run", "run-shell", "if", "if-shell", "pipep", "pipe-pane", "source", "source-file", "set-hook", "popup", "display-popup")
	}
	return false
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
