package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"
)

const (
	// maxTime bounds one git process: the slowest, writing ten thousand files,
	// takes about a second.
	maxTime = 2 * time.Minute
	// maxHold bounds how long after git's end its output may be held open. A
	// desk's first process that is being started meanwhile holds it until it
	// executes its program: seconds, where many desks start at once and the
	// kernel makes a network for each.
	maxHold = 20 * time.Second
	// maxOutput bounds what one git process may say; listing a million paths
	// takes about 100 MiB.
	maxOutput = 256 << 20
	// maxComplaint bounds what is kept of its error messages.
	maxComplaint = 2000
)

// call is one git process.
type call struct {
	gitDir  string // explicit, so that nothing is discovered
	command []string
	stdin   io.Reader
	env     []string  // added last; wins
	config  []string  // further -c settings; win
	as      ownership // whom to run as when started by root; zero: as Carrel
	// inherit lifts the rows that hide the user's own settings.
	inherit bool
	// patterns lifts the row that takes paths literally.
	patterns bool
	// foreground leaves the process in Carrel's own process group, so that a
	// signing program can ask on the terminal.
	foreground bool
}

// exitError is a git process that ended with a status other than 0.
type exitError struct {
	command string
	code    int
	said    string
}

// ErrFailed is what every git process that ended with a failure wraps; also
// that git is not installed.
var ErrFailed = errors.New("git failed")

// Unwrap implements the errors package's convention.
func (e *exitError) Unwrap() error { return ErrFailed }

func (e *exitError) Error() string {
	if e.said == "" {
		return fmt.Sprintf("git %s ended with status %d", e.command, e.code)
	}
	return fmt.Sprintf("git %s: %s", e.command, e.said)
}

// run starts one git process and returns what it wrote. It ends the process
// with all its children when ctx is cancelled or a bound is reached.
func run(ctx context.Context, c call) ([]byte, error) {
	if len(c.command) == 0 || !plumbing[c.command[0]] {
		return nil, fmt.Errorf("git %v is not one of the commands Carrel runs", c.command)
	}
	return execute(ctx, c)
}

// execute is run without the list of commands; tests show with it what the
// table of guards holds against commands that are not on the list.
func execute(ctx context.Context, c call) ([]byte, error) {
	program, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("git is needed for this and was not found on the PATH: %w (%w)", err, ErrFailed)
	}
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	args, env := prefix()
	for _, setting := range c.config {
		args = append(args, "-c", setting)
	}
	if c.patterns {
		args = append(args, "--no-literal-pathspecs")
	}
	args = append(args, "--git-dir="+c.gitDir)
	cmd := exec.CommandContext(ctx, program, append(args, c.command...)...)
	cmd.Dir, cmd.Env, cmd.Stdin = "/", environment(env, c), c.stdin
	confine(cmd, c)
	cmd.Cancel = func() error { return end(cmd, c.foreground) }
	cmd.WaitDelay = maxHold
	out := &bounded{limit: maxOutput, full: cancel}
	complaint := &bounded{limit: maxComplaint}
	cmd.Stdout, cmd.Stderr = out, complaint
	err = cmd.Run()
	return out.Bytes(), explain(ctx, c, err, out, complaint)
}

// environment is the table's, without the rows that hide the user's settings
// where those are read, and with what the call adds.
func environment(table []string, c call) []string {
	if c.inherit {
		table = slices.DeleteFunc(table, func(row string) bool {
			return strings.HasPrefix(row, "GIT_CONFIG_") || strings.HasPrefix(row, "XDG_CONFIG_HOME=")
		})
	}
	return append(table, c.env...)
}

func explain(ctx context.Context, c call, err error, out, complaint *bounded) error {
	var exit *exec.ExitError
	switch {
	case out.over:
		return fmt.Errorf("git %s wrote more than %d bytes", c.command[0], out.limit)
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("git %s: %w", c.command[0], context.Cause(ctx))
	case errors.As(err, &exit):
		said := strings.TrimSpace(strings.ToValidUTF8(complaint.String(), "\ufffd"))
		return &exitError{c.command[0], exit.ExitCode(), strings.TrimPrefix(said, "fatal: ")}
	}
	return fmt.Errorf("running git %s: %w", c.command[0], err)
}

// bounded keeps the first limit bytes. It calls full, if set, when there is
// more, and otherwise lets the rest go.
type bounded struct {
	bytes.Buffer
	limit int
	over  bool
	full  func()
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	keep := min(len(p), b.limit-b.Len())
	b.Buffer.Write(p[:keep])
	if keep < len(p) && b.full != nil {
		b.over = true
		b.full()
	}
	return len(p), nil
}

// ReadFrom implements io.ReaderFrom, so that the embedded buffer's own does
// not get past the bound.
func (b *bounded) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{b}, r)
}

// output runs git in the repository's own git directory, as its owner.
func (r *Repo) output(ctx context.Context, command ...string) ([]byte, error) {
	return run(ctx, call{gitDir: r.Dir, command: command, as: r.owner})
}
