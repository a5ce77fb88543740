package hook

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// runVariables are variables whose value some program runs as a command.
var runVariables = map[string]bool{
	"GIT_SSH_COMMAND": true, "GIT_SSH": true, "GIT_EXTERNAL_DIFF": true, "GIT_PAGER": true, "GIT_EDITOR": true, "GIT_SEQUENCE_EDITOR": true,
	"GIT_ASKPASS": true, "GIT_PROXY_COMMAND": true, "SSH_ASKPASS": true, "PAGER": true, "MANPAGER": true, "EDITOR": true, "VISUAL": true,
	"BROWSER": true, "PROMPT_COMMAND": true, "RSYNC_RSH": true,
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

func (l *line) assigned(name string, value word) error {
	why := ""
	switch {
	case value.text == "":
		return nil
	case loadVariables[name] || strings.HasPrefix(name, "GIT_CONFIG_"):
		why = "the variable " + name + " has programs run what only they find"
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
