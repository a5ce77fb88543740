package hook

import (
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Bounds of a command line. A longer one is not looked at, and so denied.
const (
	maxSource   = 1 << 20
	maxCommands = 64
	maxNested   = 8 // shells within shells
)

// command is one program a command line would start.
type command struct {
	argv []string // a word that is only known when it runs is shown as written
	// unclear says why it cannot be told what would run; empty if it can.
	unclear string
	files   []fileUse
}

// fileUse is a file that a command line names in so many words.
type fileUse struct {
	how  use
	path string // as written; relative to the directory dir
	dir  string // "" is where the command line starts
}

type use int

const (
	reads use = iota
	writes
	deletes
)

// line reads one command line. What it finds is the least that would happen:
// a program can do more than its words show.
type line struct {
	commands []command
	at       directory
	vars     map[string]string // what the line set, in so many words
	aliases  map[string]string
	depth    int
}

// directory is where relative paths lead: what literal cd's made of it.
type directory struct {
	dir  string
	lost bool // a cd led to where only the shell knows
}

// parseLine finds the programs that a shell would start for source, those in
// substitutions, functions and nested shells included. An error says that it
// cannot be read.
func parseLine(source string) ([]command, error) {
	l := &line{}
	if err := l.parse(source); err != nil {
		return nil, err
	}
	return l.commands, nil
}

func (l *line) parse(source string) error {
	switch {
	case len(source) > maxSource:
		return errTooLong
	case l.depth >= maxNested:
		return errTooDeep
	case strings.ContainsRune(source, 0) || strings.Contains(source, "\\\r"):
		return errTwoWays
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(source), "command")
	if err != nil {
		return err
	}
	l.depth++
	defer func() { l.depth-- }()
	piped := map[*syntax.Stmt]bool{}
	var around []directory // where each node around this one began
	var nodes []syntax.Node
	syntax.Walk(file, func(n syntax.Node) bool {
		if n == nil {
			last := len(nodes) - 1
			l.leave(nodes[last], around[last])
			nodes, around = nodes[:last], around[:last]
			return false
		}
		if err != nil {
			return false
		}
		nodes, around = append(nodes, n), append(around, l.at)
		switch n := n.(type) {
		case *syntax.BinaryCmd:
			if n.Op == syntax.Pipe || n.Op == syntax.PipeAll {
				piped[n.Y] = true
			}
		case *syntax.Stmt:
			err = l.statement(n, piped[n])
		case *syntax.ForClause:
			err = l.chosen(n.Loop)
		case *syntax.LetClause, *syntax.TestClause, *syntax.DeclClause:
			if subscripted(n) {
				l.commands = append(l.commands, command{argv: []string{":"}, unclear: onlyThen})
			}
		}
		return true
	})
	return err
}

// leave ends a part of a line that began in a directory. What a shell of its
// own did there is over; after what may not run nobody knows.
func (l *line) leave(n syntax.Node, began directory) {
	switch n.(type) {
	case *syntax.Subshell, *syntax.CmdSubst, *syntax.ProcSubst:
		l.at = began
	case *syntax.FuncDecl, *syntax.IfClause, *syntax.CaseClause, *syntax.WhileClause, *syntax.ForClause:
		l.at.lost = l.at.lost || l.at != began
	}
}

// statement notes the program of one statement, and the files it is joined to.
func (l *line) statement(s *syntax.Stmt, piped bool) error {
	files := l.redirections(s.Redirs)
	if err := l.assignments(s.Cmd); err != nil {
		return err
	}
	call, ok := s.Cmd.(*syntax.CallExpr)
	if !ok || len(call.Args) == 0 {
		if len(files) > 0 {
			l.commands = append(l.commands, command{argv: []string{":"}, files: files})
		}
		return l.enough()
	}
	words := make([]word, len(call.Args))
	for i, w := range call.Args {
		words[i] = wordOf(w)
	}
	text, known := hereText(s.Redirs)
	stdin := input{piped: piped || !known || fromProcess(s.Redirs), text: text}
	if err := l.start(words, stdin); err != nil {
		return err
	}
	last := &l.commands[len(l.commands)-1]
	last.files = append(last.files, files...)
	if last.unclear == "" && disguised(s.Redirs) {
		last.unclear = "the name of a file is disguised"
	}
	return l.enough()
}

// alias notes what a name stands for from here on.
func (l *line) alias(words []word) {
	for _, w := range words {
		if name, text, ok := strings.Cut(w.text, "="); ok && w.known && name != "" {
			if l.aliases == nil {
				l.aliases = map[string]string{}
			}
			l.aliases[name] = text
		}
	}
}

// startAlias notes what a name stands for with the words after it, and what it
// would be by itself.
func (l *line) startAlias(text string, words []word) error {
	name := words[0].text
	delete(l.aliases, name) // it is not looked at within itself
	defer func() { l.aliases[name] = text }()
	for _, w := range words[1:] {
		said := w.text
		if quoted, err := syntax.Quote(w.text, syntax.LangBash); err == nil && w.known {
			said = quoted
		}
		text += " " + said
	}
	if err := l.parse(text); err != nil {
		return err
	}
	return l.start(words, input{})
}

// ownBuiltins start what they start in the shell itself.
var ownBuiltins = map[string]bool{"eval": true, "command": true, "builtin": true, "source": true, ".": true}

func (l *line) enough() error {
	if len(l.commands) > maxCommands {
		return errTooMany
	}
	return nil
}

// start notes a program and what it starts in its turn. The program itself is
// noted last.
func (l *line) start(words []word, stdin input) error {
	if text, ok := l.aliases[words[0].text]; ok {
		return l.startAlias(text, words)
	}
	c := command{argv: texts(words)}
	if !words[0].known {
		c.unclear = "the name of the program is known only when it runs"
	} else if name := base(words[0].text); name == "cd" || name == "pushd" || name == "popd" {
		l.changeDir(name, words[1:])
	} else {
		if name == "alias" {
			l.alias(words[1:])
		}
		inner, why := startedBy(name, words[1:], stdin)
		began := l.at
		c.unclear = why
		for _, in := range inner {
			if err := l.inner(in); err != nil {
				return err
			}
		}
		if name == "carrel" && c.unclear == "" && slices.ContainsFunc(words, func(w word) bool { return !w.known }) {
			c.unclear = "which verb it is is known only when it runs"
		}
		if !ownBuiltins[name] {
			l.at = began // where another program went this shell has not gone
		}
		c.files = l.place(filesOf(name, l.allNamed(words[1:])))
		if name == "apply_patch" {
			if stdin.piped {
				c.unclear = onlyThen
			}
			c.files = l.place(filesOfPatch(strings.Join(append(c.argv[1:], stdin.text), "\n")))
		}
	}
	l.commands = append(l.commands, c)
	return l.enough()
}

// inner follows one program that another starts.
func (l *line) inner(in started) error {
	if len(in.words) > 0 {
		return l.start(in.words, input{})
	}
	return l.parse(in.source)
}

func (l *line) changeDir(name string, words []word) {
	to := operands(words)
	switch {
	case name == "cd" && len(words) == 0:
		l.at = directory{dir: "~"}
	case len(to) != 1 || !to[0].known:
		l.at.lost = true
	case strings.HasPrefix(to[0].text, "/") || strings.HasPrefix(to[0].text, "~"):
		l.at = directory{dir: to[0].text}
	case l.at.dir == "":
		l.at.dir = to[0].text
	default:
		l.at.dir += "/" + to[0].text
	}
}

// place drops files whose place cannot be told, and ties the others to the
// directory they are relative to.
func (l *line) place(files []fileUse) []fileUse {
	var out []fileUse
	for _, f := range files {
		absolute := strings.HasPrefix(f.path, "/") || strings.HasPrefix(f.path, "~/")
		if f.path == "" || f.path == "-" || l.at.lost && !absolute {
			continue
		}
		if !absolute {
			f.dir = l.at.dir
		}
		out = append(out, f)
	}
	return out
}

// redirections are the files that output goes to and input comes from.
func (l *line) redirections(redirs []*syntax.Redirect) []fileUse {
	var out []fileUse
	for _, r := range redirs {
		how := writes
		switch r.Op {
		case syntax.RdrIn:
			how = reads
		case syntax.RdrOut, syntax.AppOut, syntax.RdrInOut, syntax.ClbOut, syntax.RdrAll, syntax.AppAll, syntax.DplOut:
		default:
			continue
		}
		w := l.named(wordOf(r.Word))
		if !w.known || device(w.text) || r.Op == syntax.DplOut && strings.Trim(w.text, "0123456789-") == "" {
			continue
		}
		out = append(out, fileUse{how: how, path: w.text})
	}
	return l.place(out)
}

// disguised reports a file of a redirection whose name is written in escapes,
// which nobody needs.
func disguised(redirs []*syntax.Redirect) bool {
	for _, r := range redirs {
		if w := wordOf(r.Word); r.Hdoc == nil && r.Op != syntax.WordHdoc && strings.Contains(w.text, "$'") {
			return true
		}
	}
	return false
}

// device reports a file that is no file: the bit bucket and a process's own
// streams.
func device(path string) bool {
	switch path {
	case "/dev/null", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/tty":
		return true
	}
	return strings.HasPrefix(path, "/dev/fd/")
}

// input is what a program's standard input is known to be.
type input struct {
	piped bool   // another program writes it, or the shell
	text  string // of a here-document without expansions
}

// fromProcess reports input from a process substitution, which is a pipe.
func fromProcess(redirs []*syntax.Redirect) bool {
	for _, r := range redirs {
		if r.Op == syntax.RdrIn && len(r.Word.Parts) == 1 {
			if _, ok := r.Word.Parts[0].(*syntax.ProcSubst); ok {
				return true
			}
		}
	}
	return false
}

// hereText is what a here-document says; it is not known if the shell has to
// run something, or look a name up, for it.
func hereText(redirs []*syntax.Redirect) (text string, known bool) {
	for _, r := range redirs {
		switch {
		case r.Op == syntax.WordHdoc:
			w := wordOf(r.Word)
			return w.text, w.known
		case r.Hdoc != nil:
			var b strings.Builder
			known = literal(&b, r.Hdoc.Parts, true) // no patterns in there
			return b.String(), known
		}
	}
	return "", true
}
