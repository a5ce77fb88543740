package hook

import (
	"slices"
	"strings"
)

// runOptions are options of programs whose value is run as a command.
var runOptions = map[string][]string{
	"tar":   {"--checkpoint-action", "--to-command", "--use-compress-program", "-I", "--info-script", "--new-volume-script", "-F", "--rsh-command"},
	"rg":    {"--pre", "--hostname-bin"},
	"sort":  {"--compress-program"},
	"rsync": {"-e", "--rsh"},

	"man": {"-P", "--pager", "-H", "--html"},

	"mapfile": {"-C"}, "readarray": {"-C"}, "complete": {"-C"}, "compgen": {"-C"},
	"ssh": {"-oProxyCommand", "-oLocalCommand", "-oKnownHostsCommand"}, "scp": {"-oProxyCommand", "-S"}, "sftp": {"-oProxyCommand", "-S"},
}

// startedByOption finds what such options have run, with = or in a word of
// its own.
func startedByOption(words []word, options []string) (out []started, unclear string) {
	for i, w := range words {
		name, value, joined := strings.Cut(w.text, "=")
		if i > 0 && words[i-1].text == "-o" { // of ssh: in two words
			name = "-o" + name
		}
		if !slices.Contains(options, name) {
			continue
		}
		if !joined && i+1 < len(words) {
			w, value = words[i+1], words[i+1].text
		}
		value, runs := strings.CutPrefix(value, "exec=")
		switch {
		case !w.known:
			return nil, onlyThen
		case value != "" && (runs || name != "--checkpoint-action"):
			out = append(out, started{source: value})
		}
	}
	return out, ""
}

// startedByVerb finds the commands that words after a verb of git are.
func startedByVerb(words []word) ([]started, string) {
	verb := slices.IndexFunc(words, func(w word) bool { return gitRuns[w.text] != nil || gitFollows[w.text] != "" })
	if verb < 0 {
		return nil, ""
	}
	rest := words[verb+1:]
	if options := gitRuns[words[verb].text]; options != nil {
		return startedByOption(rest, options)
	}
	at := slices.IndexFunc(rest, func(w word) bool { return w.text == gitFollows[words[verb].text] })
	if at < 0 {
		return nil, ""
	}
	for rest = rest[at+1:]; len(rest) > 0 && strings.HasPrefix(rest[0].text, "-"); {
		rest = rest[1:]
	}
	if len(rest) == 0 {
		return nil, ""
	}
	return sourceOf(rest)
}

// gitRuns are the options of a verb whose value is run as a command, and
// gitFollows the word of a verb that one follows.
var (
	gitRuns = map[string][]string{
		"rebase": {"-x", "--exec"}, "difftool": {"-x", "--extcmd"}, "grep": {"--open-files-in-pager"},
		"filter-branch": {"--tree-filter", "--index-filter", "--env-filter", "--msg-filter", "--commit-filter", "--parent-filter", "--tag-name-filter"},
	}
	gitFollows = map[string]string{"bisect": "run", "submodule": "foreach"}
)

// startedByGit finds the commands that settings on git's own command line
// have it run, or that it is told to keep as settings.
func startedByGit(words []word) (out []started, unclear string) {
	if out, unclear = startedByVerb(words); unclear != "" {
		return nil, unclear
	}
	for i, w := range words {
		setting, kept := strings.TrimPrefix(w.text, "-c"), false
		switch {
		case w.text == "-c" && i+1 < len(words):
			w = words[i+1]
			setting = w.text
		case strings.HasPrefix(w.text, "--config-env="):
			return nil, "a setting of git comes from a variable"
		case w.text == "config":
			if w, kept = keptSetting(words[i+1:]); !kept {
				return out, ""
			}
			setting = w.text
		case !strings.HasPrefix(w.text, "-c"):
			continue
		}
		in, why := runBySetting(setting, w.known)
		if kept && len(in) > 0 {
			why = "git would run it later, when nobody is asked"
		}
		if why != "" || kept {
			return append(out, in...), why
		}
		out = append(out, in...)
	}
	return out, ""
}

// keptSetting is what "git config NAME VALUE" keeps, as NAME=VALUE.
func keptSetting(words []word) (word, bool) {
	said := operands(words)
	for len(said) > 0 && !strings.Contains(said[0].text, ".") { // "set", or an option's value
		said = said[1:]
	}
	if len(said) < 2 {
		return word{}, false
	}
	return word{said[0].text + "=" + said[1].text, said[0].known && said[1].known}, true
}

// runBySetting is what git runs because of a setting.
func runBySetting(setting string, known bool) ([]started, string) {
	name, value, ok := strings.Cut(setting, "=")
	name = strings.ToLower(name)
	runs := strings.HasPrefix(value, "!") || strings.HasSuffix(name, "command") || strings.HasSuffix(name, "pager") ||
		strings.HasSuffix(name, "editor") || strings.HasSuffix(name, "program") || name == "core.fsmonitor" || name == "core.hookspath"
	switch {
	case !ok || !runs:
		return nil, ""
	case !known:
		return nil, onlyThen
	case name == "core.hookspath":
		return nil, "a setting has it run what lies in " + value
	}
	return []started{{source: strings.TrimPrefix(value, "!")}}, ""
}
