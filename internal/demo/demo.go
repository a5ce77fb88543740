// Package demo walks through the main job on a sample repository: an agent
// works at a desk, useful and hostile, and what it made is reviewed, approved
// and applied. It owns the sample and the scripted agents, and runs carrel
// itself as a user would. It is trusted with nothing but a temporary directory
// that it makes: its state, its configuration and its home are all in there.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Options say what the demo uses.
type Options struct {
	Self           string // the carrel binary, an absolute path
	Path           string // where programs are looked for; empty: the usual directories
	Stdout, Stderr io.Writer
	Agent          string // "claude": the real Claude Code client; empty: a shell script
	Color          bool
	Keep           bool // leave the sample and say where it is
}

const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// errOpen is what the demo exits with when a wall did not hold.
var errOpen = errors.New("something that should have been refused was not")

// Run is the demo. It returns an error if a step did not work, or if anything
// that should have been refused was not.
func Run(ctx context.Context, opts Options) error {
	if opts.Path == "" {
		opts.Path = usualPath
	}
	agent, err := chooseAgent(opts)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "carrel-demo-")
	if err != nil {
		return fmt.Errorf("making a directory for the sample: %w", err)
	}
	s := &stage{opts: opts, agent: agent, dir: dir, say: speaker{opts.Stdout, opts.Color}}
	defer s.leave()
	if err := s.prepare(ctx); err != nil {
		return fmt.Errorf("making the sample repository: %w", err)
	}
	if err := s.work(ctx); err != nil {
		return err
	}
	if err := s.bringOut(ctx); err != nil {
		return err
	}
	return s.verdict()
}

func (s *stage) leave() {
	if s.opts.Keep {
		s.say.line("", "The sample is in "+s.dir)
		return
	}
	_ = makeRemovable(s.dir)
	_ = os.RemoveAll(s.dir)
}

// makeRemovable gives back the write bit to directories that a desk left
// without it.
func makeRemovable(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if d != nil && d.IsDir() && d.Type()&os.ModeSymlink == 0 {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
}

// work lets the agent do its task at a desk.
func (s *stage) work(ctx context.Context) error {
	a := s.agent
	s.say.section("An agent works at a desk")
	close, err := a.open(s)
	if err != nil {
		return err
	}
	defer close()
	args := append([]string{"run", "--result", s.path("result.json")}, a.flags(s)...)
	s.say.command(append([]string{"carrel", "run", "--"}, a.shown()...)...)
	out := &watcher{say: s.say}
	err = s.run(ctx, out, append(append(args, "--"), a.command(s)...)...)
	out.flush()
	s.seen = out
	if err != nil {
		return fmt.Errorf("carrel run: %w", err)
	}
	return a.check(s)
}

// bringOut takes the change from the desk to a branch.
func (s *stage) bringOut(ctx context.Context) error {
	steps := []struct {
		title string
		args  []string
	}{
		{"What it changed, with the risks named", []string{"review", "--no-pager"}},
		{"A person says yes to exactly this change", []string{"approve", "--reason", "tests only"}},
		{"It becomes a branch; the working tree is not touched", []string{"apply", "--branch", "carrel/demo"}},
	}
	for _, step := range steps {
		s.say.section(step.title)
		s.say.command(append([]string{"carrel"}, step.args...)...)
		if err := s.run(ctx, s.opts.Stdout, step.args...); err != nil {
			return fmt.Errorf("carrel %s: %w", step.args[0], err)
		}
	}
	shown, err := s.git(ctx, "log", "--stat", "--format=%h %an: %s", "main..carrel/demo")
	if err != nil {
		return err
	}
	s.say.command("git", "log", "--stat", "main..carrel/demo")
	s.say.text(shown)
	s.say.section("The log holds every step, and can be checked")
	s.say.command("carrel", "log", "verify")
	if err := s.run(ctx, s.opts.Stdout, "log", "verify"); err != nil {
		return fmt.Errorf("carrel log verify: %w", err)
	}
	return s.inspect(ctx)
}

func (s *stage) verdict() error {
	s.say.section("What held")
	for _, f := range s.findings {
		s.say.line(f.word(), f.what)
	}
	if open := s.open(); len(open) > 0 {
		return fmt.Errorf("%w: %s", errOpen, strings.Join(open, "; "))
	}
	return nil
}
