package hook

import (
	"slices"
	"strings"
)

// Command is how a client starts one hook.
type Command struct {
	Program string
	Args    []string
	Line    string // the shell's line that says so; "" if the client starts it without a shell
}

func (c *Client) command(program, name string) Command {
	return Command{Program: program, Args: []string{"hook", c.Name, "--hook", name}}
}

// Registers reports whether a command is the one that this client's settings
// should have for a hook.
func (c *Client) Registers(in Command, name string) bool {
	want := c.command(in.Program, name)
	line, _ := c.enter(want, name)["command"].(string)
	return slices.Equal(in.Args, want.Args) && (in.Line == "" || in.Line == line)
}

func (c Command) words() []any {
	out := make([]any, len(c.Args))
	for i, w := range c.Args {
		out[i] = w
	}
	return out
}

// unanswered ends a line that starts a hook: where the program is not there,
// or breaks down, the client is told no, in the way that stops it.
const unanswered = " || { echo 'carrel: denied, because it did not answer' >&2; exit 2; }"

// line is the command for a client that has a shell start it.
func (c Command) line() string {
	return ShellWord(c.Program) + " " + strings.Join(c.Args, " ") + unanswered
}

// ShellWord is s as one word of a POSIX shell.
func ShellWord(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// fromLine reads a line that starts carrel hook.
func fromLine(line string) (Command, bool) {
	program, rest, ok := strings.Cut(line, " hook ")
	if quoted, is := strings.CutPrefix(program, "'"); is {
		program = strings.ReplaceAll(strings.TrimSuffix(quoted, "'"), `'\''`, "'")
	}
	rest, _, _ = strings.Cut(rest, " ||")
	return Command{Program: program, Args: append([]string{"hook"}, strings.Fields(rest)...), Line: line}, ok && base(program) == "carrel"
}

// ourCommand recognises a hook that starts carrel, in words or in one line.
func ourCommand(h any) (Command, bool) {
	entry, _ := h.(object)
	c := Command{}
	c.Program, _ = entry["command"].(string)
	args, inWords := entry["args"].([]any)
	for _, a := range args {
		word, _ := a.(string)
		c.Args = append(c.Args, word)
	}
	ours := base(c.Program) == "carrel" && len(c.Args) > 1 && c.Args[0] == "hook"
	if !inWords {
		c, ours = fromLine(c.Program)
	}
	return c, ours && entry["type"] == "command"
}
