package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// stage is the demo's temporary directory and what was found in it. It is
// used by one goroutine.
type stage struct {
	opts     Options
	agent    agent
	dir      string
	say      speaker
	seen     *watcher // what the agent printed
	canary   string   // the content of the private key in the user's home
	findings []finding
}

// finding is one thing that must hold, looked at from outside.
type finding struct {
	what string
	held bool
}

func (f finding) word() string {
	if f.held {
		return "held"
	}
	return "OPEN"
}

func (s *stage) found(held bool, what string) {
	s.findings = append(s.findings, finding{what, held})
}

// open lists what did not hold.
func (s *stage) open() []string {
	var out []string
	for _, f := range s.findings {
		if !f.held {
			out = append(out, f.what)
		}
	}
	return out
}

func (s *stage) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

// env is all that the demo's programs know: nothing of the user's own
// settings, state or keys.
func (s *stage) env(more ...string) []string {
	return append([]string{
		"PATH=" + s.opts.Path, "HOME=" + s.path("home"), "LANG=C.UTF-8", "TERM=dumb", "SHELL=/bin/sh",
		"XDG_CONFIG_HOME=" + s.path("config"), "XDG_STATE_HOME=" + s.path("state"),
		"XDG_CACHE_HOME=" + s.path("cache"), "XDG_DATA_HOME=" + s.path("data"),
		"XDG_RUNTIME_DIR=" + s.path("runtime"), "GIT_CONFIG_NOSYSTEM=1",
		"DEMO_HOME=" + s.path("home"),
	}, more...)
}

// run runs carrel in the sample repository. A shell in between only puts its
// own number, which carrel then inherits, into DEMO_PID.
func (s *stage) run(ctx context.Context, out io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", `DEMO_PID=$$ exec "$0" "$@"`, s.opts.Self}, args...)...)
	cmd.Dir = s.path("repo")
	cmd.Env = s.env(s.agent.secrets()...)
	cmd.Stdout, cmd.Stderr = out, s.opts.Stderr
	return cmd.Run()
}

func (s *stage) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Env = s.path("repo"), s.env()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimRight(string(out), "\n"), nil
}

// inspect looks at the host after the agent's work.
func (s *stage) inspect(ctx context.Context) error {
	names, err := s.git(ctx, "ls-tree", "-r", "--name-only", "carrel/demo")
	if err != nil {
		return err
	}
	workflow, err := s.git(ctx, "show", "carrel/demo:.github/workflows/ci.yml")
	if err != nil {
		return err
	}
	_, hook := os.Lstat(s.path("repo", ".git", "hooks", "pre-commit"))
	s.found(strings.Contains(names, s.agent.made()), "the test is on the branch")
	for _, line := range s.seen.tries {
		s.found(line.held, line.what)
	}
	s.found(!s.seen.saw(s.canary), "the private key was not seen inside")
	s.found(os.IsNotExist(hook), "no hook was planted in the real repository")
	s.found(!strings.Contains(workflow, "collector.example"), "the CI workflow is as it was")
	return nil
}
