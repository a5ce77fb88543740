package terminal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
)

// PagerOptions say how to page.
type PagerOptions struct {
	Off     bool     // write straight through, as --no-pager asks
	Environ []string // of the user: language and terminal are taken from it
}

// pagers are the places where the pager is looked for: those of the system.
// The PATH is not asked, since it may lead into a workspace, and PAGER is not,
// since what it names would not be in secure mode.
var pagers = []string{"/usr/bin/less", "/bin/less", "/usr/local/bin/less", "/opt/homebrew/bin/less", "/run/current-system/sw/bin/less"}

// pagerArgs: colours but no other sequence, end if it fits on the screen,
// leave it there, end on interrupt.
var pagerArgs = []string{"-R", "-F", "-X", "-K"}

// Page runs write with a writer that leads to out through the pager, or
// straight to out if that is no terminal or there is no pager. What write
// writes must be escaped already, but for colours. A reader who leaves early
// is no error.
func Page(ctx context.Context, out *os.File, o PagerOptions, write func(io.Writer) error) error {
	pager := findPager()
	if o.Off || pager == "" || !term.IsTerminal(int(out.Fd())) {
		buffered := bufio.NewWriterSize(out, 64<<10)
		return errors.Join(write(buffered), buffered.Flush())
	}
	cmd := exec.CommandContext(ctx, pager, pagerArgs...)
	cmd.Env = pagerEnviron(o.Environ)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	cmd.Dir = "/"
	// A pager that is killed leaves the terminal raw: it is asked first.
	cmd.Cancel = func() error {
		if cmd.Process.Signal(syscall.SIGTERM) != nil {
			return cmd.Process.Kill()
		}
		return nil
	}
	cmd.WaitDelay = 2 * time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("starting the pager: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the pager %s (--no-pager does without): %w", pager, err)
	}
	// Ctrl-C belongs to the reader of the page; the pager answers it.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	buffered := bufio.NewWriterSize(in, 64<<10)
	err = errors.Join(write(buffered), buffered.Flush())
	in.Close()
	if waited := cmd.Wait(); err == nil && ctx.Err() == nil {
		var exit *exec.ExitError
		if waited != nil && !errors.As(waited, &exit) {
			err = fmt.Errorf("waiting for the pager: %w", waited)
		}
	}
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func findPager() string {
	for _, p := range pagers {
		if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() {
			return p
		}
	}
	return ""
}

// pagerEnviron is all the pager is told: no LESSOPEN, so that no pre-processor
// runs on what an agent wrote; no LESS and no home, so that no settings run
// one either; and secure mode, so that nothing can be started from inside it.
func pagerEnviron(environ []string) []string {
	env := []string{"LESSSECURE=1", "LESSHISTFILE=-", "LESSNOCONFIG=1", "LESSKEYIN=/dev/null", "LESSKEYIN_SYSTEM=/dev/null", "LESSKEY=/dev/null", "LESSKEY_SYSTEM=/dev/null"}
	charset := false
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if name == "TERM" || name == "COLORTERM" || name == "LANG" || strings.HasPrefix(name, "LC_") {
			env = append(env, kv)
			charset = charset || name != "TERM" && name != "COLORTERM" && strings.Contains(strings.ToUpper(kv), "UTF")
		}
	}
	if !charset {
		env = append(env, "LESSCHARSET=utf-8")
	}
	return env
}
