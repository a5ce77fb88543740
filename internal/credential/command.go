package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// commandTimeout bounds a helper: it may ask a keyring or a server, not a
// person at a terminal that it does not have.
const commandTimeout = 30 * time.Second

// FromCommand takes the key from the standard output of a program of the
// host, such as the agent's own key helper. It runs outside the desk with the
// environment given, no input and no terminal. argv comes from the user's or
// the organisation's configuration, never from a repository.
func FromCommand(argv, env []string) (*Source, error) {
	if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
		return nil, fmt.Errorf("key helper %q: say the absolute path of the program", argv)
	}
	argv, env = append([]string(nil), argv...), append([]string(nil), env...)
	return &Source{where: "command " + argv[0], fetch: func(ctx context.Context) (string, error) {
		return runHelper(ctx, argv, env)
	}}, nil
}

// runHelper never shows what the program printed: it may be half a key.
func runHelper(ctx context.Context, argv, env []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	out := &bounded{left: maxSecret}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout = env, "/", out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that its children end with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("it did not answer in time: %w", ctx.Err())
	case errors.Is(err, errTooMuch):
		return "", err
	case err != nil:
		return "", fmt.Errorf("%w; run it by hand to see why", err)
	}
	return out.buf.String(), nil
}

var errTooMuch = fmt.Errorf("it printed more than %d bytes", maxSecret)

// bounded keeps the first bytes and then fails.
type bounded struct {
	buf  bytes.Buffer
	left int
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if len(p) > b.left {
		return 0, errTooMuch
	}
	b.left -= len(p)
	return b.buf.Write(p)
}
