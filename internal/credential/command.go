package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// commandTimeout bounds a helper: it may ask a keyring or a server, not a
// person at a terminal that it does not have.
const commandTimeout = 30 * time.Second

// maxHold bounds how long after the helper's end its output may be held open.
// A desk's first process that is being started meanwhile holds it until it
// executes its program: seconds, where many desks start at once.
const maxHold = 20 * time.Second

// FromCommand takes the key from the standard output of a program of the
// host, such as the agent's own key helper. It runs outside the desk with the
// environment given, no input and no terminal. argv comes from the user's or
// the organisation's configuration, never from a repository.
func FromCommand(argv, env []string) (*Source, error) {
	if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
		return nil, fmt.Errorf("key helper %q: say the absolute path of the program", argv)
	}
	argv, env = append([]string(nil), argv...), append([]string(nil), env...)
	return &Source{where: "command " + argv[0], keep: keepCommand, fetch: func(ctx context.Context) (string, error) {
		return runHelper(ctx, argv, env)
	}}, nil
}

// runHelper never shows what the program printed on its standard output: it
// may be half a key. Of its complaints it shows what is surely none.
func runHelper(ctx context.Context, argv, env []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	out, complaint := &bounded{left: maxSecret}, &lastWords{}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = env, "/", out, complaint
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that its children end with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = maxHold
	err := cmd.Run()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "", fmt.Errorf("it did not answer in time (it has %s, no input and no terminal); run it by hand to see why: %w", commandTimeout, ctx.Err())
	case ctx.Err() != nil:
		return "", ctx.Err()
	case out.over: // which ends the program by a broken pipe
		return "", errTooMuch
	case err != nil:
		return "", fmt.Errorf("%w%s; run it by hand to see why", err, complaint)
	}
	return out.buf.String(), nil
}

var errTooMuch = fmt.Errorf("it printed more than %d bytes, and is to print the key alone", maxSecret)

// bounded keeps the first bytes and then fails.
type bounded struct {
	buf  bytes.Buffer
	left int
	over bool
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if len(p) > b.left {
		b.over = true
		return 0, errTooMuch
	}
	b.left -= len(p)
	return b.buf.Write(p)
}

// lastWords keeps the end of what a program complained about.
type lastWords struct{ said []byte }

const maxLastWords = 600

// Write implements io.Writer.
func (l *lastWords) Write(p []byte) (int, error) {
	l.said = append(l.said, p[max(0, len(p)-maxLastWords):]...)
	l.said = l.said[max(0, len(l.said)-maxLastWords):]
	return len(p), nil
}

// String shows the words that are plainly language: anything with a digit or
// of great length may be a key.
func (l *lastWords) String() string {
	words := strings.Fields(string(l.said))
	for i, w := range words {
		if len(w) > 24 || strings.ContainsFunc(w, func(r rune) bool { return r < ' ' || r > '~' || r >= '0' && r <= '9' }) {
			words[i] = redacted
		}
	}
	if len(words) == 0 {
		return ""
	}
	return ": " + strings.Join(words, " ")
}
