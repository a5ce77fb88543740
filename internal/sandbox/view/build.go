package view

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// Build computes what the desk sees. A *sandbox.StartError says that the
// command cannot be started and which exit code that is; other errors are
// about the request.
func Build(h Host, r Request) (Plan, error) {
	if len(r.Argv) == 0 || r.Argv[0] == "" {
		return Plan{}, errors.New("no command")
	}
	if err := Check(h, r.Workspace, r.Env); err != nil {
		return Plan{}, err
	}
	b := newBuilder(h, r)
	if r.Foundation == nil {
		r.Foundation = Lay(h)
	}
	b.buildOn(r.Foundation)
	b.file("/etc/gitconfig", b.gitconfig(), "identity for commits")
	b.private()
	b.searchPath()
	if err := b.showAsked(); err != nil {
		return Plan{}, err
	}
	if err := b.program(); err != nil {
		return Plan{}, err
	}
	b.venvs()
	b.certificates()
	b.authority()
	b.mounts = append(b.mounts, r.Staged...)
	b.caches()
	if err := b.hide(); err != nil {
		return Plan{}, err
	}
	b.told()
	b.environment()
	b.plan.Mounts = append(b.mounts, r.Files...)
	b.plan.Args = slices.Clone(r.Argv)
	b.plan.Dir = r.Workspace
	if within(h.Cwd, r.Workspace) {
		b.plan.Dir = h.Cwd
	}
	return b.plan, nil
}

// Check refuses, before anything is read or copied, a workspace that must not
// be worked in and variables that cannot be one.
func Check(h Host, workspace string, env []string) error {
	if err := newBuilder(h, Request{Workspace: workspace}).refuseWorkspace(); err != nil {
		return fmt.Errorf("workspace %s: %w", workspace, err)
	}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if name == "" || strings.ContainsAny(name, " \t\n\x00") || strings.Contains(value, "\x00") {
			return fmt.Errorf("--env %q: it is no NAME or NAME=VALUE", kv)
		}
	}
	return nil
}

// builder collects the plan. Mounts are carried out in the order in which
// they are added, so what comes later lies on top.
type builder struct {
	Host
	Request
	env      map[string]string // of the invoking user
	asked    map[string]string // what the user gave with --env
	set      map[string]string // what this package sets
	path     []string          // PATH inside
	trees    []string          // host paths that are visible with everything below
	targs    map[string]bool   // targets that exist
	stores   []string          // credential stores of the home, absolute
	managers []*rooted
	mounts   []sandbox.Mount
	plan     Plan
}

func newBuilder(h Host, r Request) *builder {
	b := &builder{Host: h, Request: r, env: map[string]string{}, asked: map[string]string{}, set: map[string]string{},
		targs: map[string]bool{}, mounts: make([]sandbox.Mount, 0, 96)}
	for _, kv := range h.Environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			b.env[name] = value
		}
	}
	for _, kv := range r.Env {
		name, value, ok := strings.Cut(kv, "=")
		if !ok {
			if value, ok = b.env[name]; !ok {
				b.warn("--env %s: it is not set here", name)
				continue
			}
		}
		b.asked[name] = value
	}
	for _, s := range stores {
		b.stores = append(b.stores, h.Home+"/"+s)
	}
	b.managers = b.rootManagers()
	b.plan.Home = HomePath(h)
	b.trees = append(b.trees, r.Workspace)
	return b
}

// HomePath is where the home is inside: never the user's own path, so that
// tools of the user's home can be shown at their place without a mount inside
// a directory the agent writes.
func HomePath(h Host) string {
	if within(h.Home, "/home/desk") {
		return "/desk"
	}
	return "/home/desk"
}

func (b *builder) warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(b.plan.Warnings, text) { // the PATH may name a directory twice
		b.plan.Warnings = append(b.plan.Warnings, text)
	}
}

func (b *builder) add(m sandbox.Mount) {
	if !b.targs[m.Target] {
		b.targs[m.Target] = true
		b.mounts = append(b.mounts, m)
	}
}

// tree shows a host file or directory with everything below it, read-only, at
// its own path.
func (b *builder) tree(path, why string) {
	if b.visible(path) {
		return
	}
	b.trees = append(b.trees, path)
	b.add(sandbox.Mount{Kind: sandbox.MountBind, Source: path, Target: path, Optional: true, Adopt: b.own(path), Why: why})
}

// maxCopied is the largest file that is copied rather than mounted: writing a
// few pages costs less than a mount, both at the start and at the end.
const maxCopied = 32 << 10

// copied shows a small plain file by its content and reports whether it could.
func (b *builder) copied(path, target, why string) bool {
	fi, err := os.Lstat(path)
	if err != nil || !fi.Mode().IsRegular() || fi.Mode()&0o111 != 0 || fi.Size() > maxCopied {
		return false
	}
	content, err := os.ReadFile(path)
	if err != nil || len(content) > maxCopied {
		return false
	}
	b.trees = append(b.trees, target)
	b.file(target, string(content), why)
	return true
}

// own reports whether path is the user's rather than the system's.
func (b *builder) own(path string) bool { return b.Home != "" && b.Home != "/" && within(path, b.Home) }

func (b *builder) visible(path string) bool {
	return slices.ContainsFunc(b.trees, func(t string) bool { return within(path, t) })
}

func (b *builder) file(target, content, why string) {
	b.add(sandbox.Mount{Kind: sandbox.MountFile, Target: target, Content: []byte(content), Why: why})
}

// private adds what belongs to the run alone.
func (b *builder) private() {
	for _, m := range []sandbox.Mount{
		{Kind: sandbox.MountTmpfs, Target: "/tmp", Mode: 0o1777, Writable: true, Why: "private"},
		{Kind: sandbox.MountSymlink, Target: "/var/tmp", Source: "/tmp"},
		{Kind: sandbox.MountDir, Target: "/run"},
		{Kind: sandbox.MountSymlink, Target: "/var/run", Source: "/run"},
		{Kind: sandbox.MountSymlink, Target: "/var/lock", Source: "/tmp"},
	} {
		b.add(m)
	}
	home := sandbox.Mount{Kind: sandbox.MountTmpfs, Target: b.plan.Home, Mode: 0o700, Writable: true, Why: "home, goes with the run"}
	if b.HomeDir != "" {
		home = sandbox.Mount{Kind: sandbox.MountBind, Source: b.HomeDir, Target: b.plan.Home, Writable: true, Adopt: true, Why: "home, kept at the desk"}
	}
	b.add(home)
}

// told adds what the agent is told and where it can answer.
func (b *builder) told() {
	b.file(briefingPath, b.Briefing.Text(), "what the agent is told")
	if b.Notices != "" {
		b.add(sandbox.Mount{Kind: sandbox.MountBind, Source: b.Notices, Target: NoticesPath, Why: "what was refused in this run"})
	}
	if b.OutDir != "" {
		b.add(sandbox.Mount{Kind: sandbox.MountBind, Source: b.OutDir, Target: outDir, Writable: true, NoExec: true, Adopt: true, Why: "the agent's proposal for a commit message"})
	}
}

// showAsked adds what the user named, read-only. What is not there is an error
// wherever it would be, and the workspace is no place to ask it of: the agent has
// a copy to write in, and who reads "read-only" would think otherwise.
func (b *builder) showAsked() error {
	for _, asked := range b.RO {
		path := b.abs(asked.Path)
		if _, err := os.Lstat(path); err != nil {
			return fmt.Errorf("%s: %w", asked, err)
		}
		if within(path, b.Workspace) {
			b.warn("%s: it is in the workspace, which the agent writes a copy of; it is not read-only", asked)
			continue
		}
		b.plan.Shown = append(b.plan.Shown, path)
		if b.visible(path) {
			continue
		}
		final, err := b.follow(path)
		if err != nil {
			return fmt.Errorf("%s: %w", asked, err)
		}
		if err := b.refuse(final); err != nil {
			return fmt.Errorf("%s: %w", asked, err)
		}
		b.tree(final, asked.By)
	}
	return nil
}

// venvs shows what a virtual environment of the workspace leads to.
func (b *builder) venvs() {
	for _, dir := range []string{".venv", "venv"} {
		python := filepath.Join(b.Workspace, dir, "bin", "python")
		if _, err := os.Lstat(python); err == nil {
			if err := b.expose(python, 0); err != nil {
				b.warn("%s: %v", python, err)
			}
		}
	}
}
