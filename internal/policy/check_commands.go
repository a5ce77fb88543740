package policy

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/carrel-dev/carrel"
)

// maxPosition bounds at which argument a rule is tried.
const maxPosition = 16

// commands finds a denial of a command that the same in other words gets past.
func (c *checker) commands(r *ast.Rule) {
	if r.Head.Name == "allow" || !slices.Contains(c.report.Governs, carrel.OpExec) {
		return
	}
	for _, argv := range c.commandsOf(r) {
		if !stopped(c.own(execProbe(argv))) {
			continue
		}
		for _, v := range otherWords(argv) {
			if a := execProbe(v.argv); c.own(a).Verdict == carrel.Allow {
				c.show(v.check, c.argvAt(r), a, v.message, strings.Join(argv, " "))
			}
		}
	}
}

func execProbe(argv []string) carrel.Action {
	a := carrel.Action{Operation: carrel.OpExec}
	for _, word := range argv {
		a.Argv = append(a.Argv, carrel.Text(word))
	}
	return a
}

// otherWord is the same command, written otherwise.
type otherWord struct {
	check, message string
	argv           []string
}

func otherWords(argv []string) []otherWord {
	var out []otherWord
	if !strings.Contains(argv[0], "/") {
		out = append(out, otherWord{"program-by-word", "the program by its full path is let by: %s; look at input.programs instead of input.argv[0]", append([]string{"/usr/bin/" + argv[0]}, argv[1:]...)})
	}
	option := []string{"-v"}
	if argv[0] == "git" {
		option = []string{"-C", "."}
	}
	const moved = "with another option before or behind it, it is let by: %s; look for its words in input.argv wherever they are, or at input.classes"
	out = append(out, otherWord{"argument-by-position", moved, slices.Insert(slices.Clone(argv), 1, option...)},
		otherWord{"argument-by-position", moved, append(slices.Clone(argv), "-v")})
	for i, word := range argv {
		if len(word) > 2 && word[0] == '-' && word[1] != '-' && !strings.ContainsAny(word, "=/.") {
			apart := strings.Split(word[1:], "")
			for j := range apart {
				apart[j] = "-" + apart[j]
			}
			out = append(out, otherWord{"flags-by-word", "with its options apart it is let by: %s; look for each option", slices.Concat(argv[:i], apart, argv[i+1:])})
		}
	}
	return out
}

// commandsOf are commands that a rule speaks of: by the place of a word, whole,
// or as a line.
func (c *checker) commandsOf(r *ast.Rule) [][]string {
	var out [][]string
	if argv := c.placed(r); argv != nil {
		out = append(out, argv)
	}
	ast.WalkTerms(r.Body, func(t *ast.Term) bool {
		if list, ok := t.Value.(*ast.Array); ok && len(out) < maxTried && slices.Contains(fieldsRead(r), "argv") {
			var argv []string
			list.Foreach(func(t *ast.Term) {
				if s, ok := t.Value.(ast.String); ok {
					argv = append(argv, string(s))
				}
			})
			if len(argv) > 0 && len(argv) == list.Len() {
				out = append(out, argv)
			}
		}
		return false
	})
	for _, t := range c.testsOf(r) {
		if words := strings.Fields(matched(t.text)); t.field == commandLine && len(words) > 0 && len(out) < maxTried {
			out = append(out, words)
		}
	}
	if len(out) == 0 && readsProgramWord(r) { // it is compared with a table
		for _, word := range c.spoken["argv"] {
			if !strings.ContainsAny(word, " /\n") && len(out) < maxTried {
				out = append(out, []string{word, "x"})
			}
		}
	}
	return out
}

func readsProgramWord(r *ast.Rule) bool {
	found := false
	ast.WalkRefs(r, func(ref ast.Ref) bool {
		found = found || ref.HasPrefix(inputProgramWord)
		return found
	})
	return found
}

var inputProgramWord = ast.InputRootRef.Append(ast.StringTerm("argv")).Append(ast.IntNumberTerm(0))

// placed is the command that tests of single words describe.
func (c *checker) placed(r *ast.Rule) []string {
	at, anywhere := map[int]string{}, []string{}
	ast.WalkExprs(r, func(x *ast.Expr) bool {
		if !x.IsCall() || len(x.Operands()) != 2 || x.Negated {
			return false
		}
		for _, side := range [][2]int{{0, 1}, {1, 0}} {
			text, ok := x.Operand(side[1]).Value.(ast.String)
			if !ok || strings.ContainsAny(string(text), " \n") {
				continue
			}
			field := c.fields.field(r, x.Operand(side[0]))
			switch i := place(x.Operand(side[0])); {
			case field == "argv" && i >= 0:
				at[i] = string(text)
			case field == "argv":
				anywhere = append(anywhere, string(text))
			case field == "program" || field == "programs":
				at[0] = string(text)
			}
		}
		return false
	})
	if len(at) == 0 {
		return nil
	}
	var argv []string
	for i := 0; len(at) > 0 && i < maxPosition; i++ {
		word, ok := at[i]
		if !ok {
			word = "x"
		}
		argv = append(argv, word)
		delete(at, i)
	}
	if argv = append(argv, anywhere...); len(argv) == 1 {
		argv = append(argv, "x")
	}
	return argv
}

// place is the number in input.argv[number], or -1.
func place(t *ast.Term) int {
	ref, ok := t.Value.(ast.Ref)
	if !ok || len(ref) < 2 {
		return -1
	}
	n, ok := ref[len(ref)-1].Value.(ast.Number)
	i, isInt := n.Int()
	if !ok || !isInt || i < 0 || i >= maxPosition {
		return -1
	}
	return i
}

// argvAt is where the rule first speaks of a command.
func (c *checker) argvAt(r *ast.Rule) *ast.Location {
	for _, t := range c.testsOf(r) {
		if slices.Contains([]string{"argv", "program", "programs", commandLine}, t.field) {
			return t.at
		}
	}
	return r.Location
}

// words finds an allowance for a program that any other gets by its name: who
// starts a program chooses argv[0], and what else is in a line.
func (c *checker) words(r *ast.Rule) {
	if r.Head.Name != "allow" || !slices.Contains(c.report.Governs, carrel.OpExec) {
		return
	}
	for _, argv := range c.commandsOf(r) {
		own := execProbe(append([]string{"run"}, argv[1:]...))
		named := execProbe(argv)
		own.Path, named.Path = "/workspace/evil/run", "/workspace/evil/run"
		if c.own(named).Verdict == carrel.Allow && c.own(own).Verdict != carrel.Allow {
			c.show("allowed-by-word", c.argvAt(r), named, "any program is allowed that is started as %s: who starts it chooses argv[0]; compare input.path, where the program is", argv[0])
		}
	}
	for _, t := range c.testsOf(r) {
		inside, other := execProbe([]string{"sh", "-c", "evil; " + t.text}), execProbe([]string{"sh", "-c", "evil; "})
		if t.field == commandLine && c.own(inside).Verdict == carrel.Allow && c.own(other).Verdict != carrel.Allow {
			c.show("line-anywhere", t.at, inside, "the words are found in other commands too: %q; compare the words of input.argv one by one", t.text)
		}
	}
}
