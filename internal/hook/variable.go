package hook

import (
	"os"
	"path"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// runVariables are variables whose value some program runs as a command.
var runVariables = map[string]bool{
	"GIT_SSH_COMMAND": true, "GIT_SSH": true, "GIT_EXTERNAL_DIFF": true, "GIT_PAGER": true, "GIT_EDITOR": true, "GIT_SEQUENCE_EDITOR": true,
	"GIT_ASKPASS": true, "GIT_PROXY_COMMAND": true, "SSH_ASKPASS": true, "PAGER": true, "MANPAGER": true, "EDITOR": true, "VISUAL": true,
	"BROWSER": true, "PROMPT_COMMAND": true, "RSYNC_RSH": true, "CARGO_BUILD_RUSTC_WRAPPER": true, "RUSTC_WRAPPER": true, "FZF_DEFAULT_COMMAND": true, "PS4": true,
}

// loadVariables are variables that have programs run a file, whatever they are.
var loadVariables = map[string]bool{"LD_PRELOAD": true, "LD_AUDIT": true, "BASH_ENV": true, "ENV": true, "PYTHONSTARTUP": true, "DYLD_INSERT_LIBRARIES": true}

// assignments notes what variables that are set for a command, or from it on,
// have programs run.
func (l *line) assignments(cmd syntax.Command) error {
	var set []*syntax.Assign
	switch cmd := cmd.(type) {
	case *syntax.CallExpr:
		set = cmd.Assigns
	case *syntax.DeclClause:
		set = cmd.Args
	}
	for _, a := range set {
		if a.Name == nil || a.Value == nil {
			continue
		}
		if err := l.assigned(a.Name.Value, wordOf(a.Value)); err != nil {
			return err
		}
	}
	return nil
}

// chosen notes what the variable of a loop stands for, where it is one thing.
func (l *line) chosen(loop syntax.Loop) error {
	each, ok := loop.(*syntax.WordIter)
	if !ok || len(each.Items) != 1 {
		return nil
	}
	value := wordOf(each.Items[0])
	if err := l.assigned(each.Name.Value, value); err != nil {
		return err
	}
	if strings.ContainsAny(value.text, "*?[{") && !strings.ContainsAny(value.text, "$`'\"\\") {
		l.vars[each.Name.Value] = value.text // a pattern says where the files lie
	}
	return nil
}

func (l *line) assigned(name string, value word) error {
	why := ""
	if l.vars == nil {
		l.vars = map[string]string{}
	}
	if delete(l.vars, name); value.known {
		l.vars[name] = value.text
	}
	switch {
	case value.text == "":
		return nil
	case loadVariables[name] || strings.HasPrefix(name, "GIT_CONFIG_"):
		why = "the variable " + name + " has programs run what only they find"
	case name == "CDPATH":
		why = "where a cd leads is known only when it runs"
	case name == "BASH_ALIASES" || name == "BASH_CMDS":
		why = onlyThen
	case !runVariables[name]:
		return nil
	case value.known:
		return l.parse(value.text)
	default:
		why = onlyThen
	}
	l.commands = append(l.commands, command{argv: []string{name + "=" + value.text}, unclear: why})
	return l.enough()
}

// named is a word that names a file, with what the line itself put into
// variables, and a pattern for the one name that nobody may write to. This is
// for files alone: another branch of the line may set the variable otherwise,
// so that a program which is named so stays unclear.
func (l *line) named(w word) word {
	if w.known {
		return w
	}
	text := os.Expand(w.text, func(name string) string {
		if value, ok := l.vars[name]; ok {
			return value
		}
		if name == "PWD" && !l.at.lost {
			return "." // what is relative is tied to it
		}
		return "$" + name
	})
	if strings.HasPrefix(text, `"`) && strings.Count(text, `"`) == 2 && !strings.Contains(text, `\`) {
		text = strings.ReplaceAll(text, `"`, "")
	}
	parts := strings.Split(text, "/")
	for i, part := range parts {
		if ok, err := path.Match(part, ".git"); ok && err == nil && part[0] == '.' { // no pattern stands for a first dot
			parts[i] = ".git"
		}
	}
	if text = strings.Join(parts, "/"); strings.ContainsAny(text, "$`*?[{<>()\"'\\") {
		return word{text, false}
	}
	return word{text, true}
}

func (l *line) allNamed(words []word) []word {
	out := make([]word, len(words))
	for i, w := range words {
		out[i] = l.named(w)
	}
	return out
}
