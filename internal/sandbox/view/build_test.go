package view

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/internal/needs"
	"github.com/carrel-dev/carrel/internal/sandbox"
)

// home makes a host home and a workspace in it from a list of files. A file
// whose content begins with -> is a link, one that ends in / a directory.
func home(t testing.TB, files map[string]string) Host {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root = filepath.Join(root, "home/u")
	for name, content := range files {
		path := filepath.Join(root, name)
		if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			if target, ok := strings.CutPrefix(content, "->"); ok {
				err = os.Symlink(strings.ReplaceAll(target, "HOME", root), path)
			} else {
				mode := os.FileMode(0o644)
				if strings.HasPrefix(content, "#!") || strings.Contains(name, "bin/") {
					mode = 0o755
				}
				err = os.WriteFile(path, []byte(strings.ReplaceAll(content, "HOME", root)), mode)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "ws"), 0o755); err != nil {
		t.Fatal(err)
	}
	return Host{Home: root, Cwd: filepath.Join(root, "ws"), UserName: "u", UID: 1000, GID: 1000,
		State: []string{filepath.Join(root, ".local/state/carrel")}, Environ: []string{"PATH=/usr/bin:/bin", "TERM=xterm"}}
}

func (h Host) path(dirs ...string) Host {
	h.Environ = append(slices.Clone(h.Environ), "PATH="+strings.Join(append(dirs, "/usr/bin", "/bin"), ":"))
	return h
}

func (h Host) request(argv ...string) Request {
	ws := filepath.Join(h.Home, "ws")
	return Request{Argv: argv, Workspace: ws, Staged: []sandbox.Mount{
		{Kind: sandbox.MountOverlay, Target: Workspace, Lower: ws, Writable: true}, {Kind: sandbox.MountOverlay, Target: ws, Lower: ws, Writable: true}}}
}

func build(t testing.TB, h Host, r Request) Plan {
	t.Helper()
	p, err := Build(h, r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sees reports whether a host path can be read inside, and is not the staged
// workspace.
func (p Plan) sees(path string) bool {
	return slices.ContainsFunc(p.Mounts, func(m sandbox.Mount) bool {
		return (m.Kind == sandbox.MountBind && within(path, m.Source)) || (m.Kind == sandbox.MountFile && m.Target == path) || (m.Kind == sandbox.MountOverlay && !strings.HasSuffix(m.Lower, "/ws") && within(path, m.Lower))
	})
}

func (p Plan) mount(target string) *sandbox.Mount {
	for i := range p.Mounts {
		if p.Mounts[i].Target == target {
			return &p.Mounts[i]
		}
	}
	return nil
}

func (p Plan) env(name string) string {
	for _, kv := range p.Env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// secrets are files that must never be visible, whatever is asked.
var secrets = map[string]string{
	".ssh/id_ed25519": "canary", ".aws/credentials": "canary", ".netrc": "canary", ".config/gh/hosts.yml": "canary",
	".docker/config.json": "canary", ".kube/config": "canary", ".git-credentials": "canary", ".claude/.credentials.json": "canary",
	".cargo/credentials.toml": "canary", ".npmrc": "//r/:_authToken=canary\nregistry=https://r.test/\n", ".local/state/carrel/log": "canary",
	".bash_history": "canary", ".codex/auth.json": "canary",
}

func with(a, b map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range []map[string]string{a, b} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

func TestNothingOfTheHomeIsVisible(t *testing.T) {
	h := home(t, secrets)
	p := build(t, h, h.request("true"))
	for name := range secrets {
		if p.sees(filepath.Join(h.Home, name)) {
			t.Errorf("~/%s is visible", name)
		}
	}
	for _, m := range p.Mounts {
		if strings.Contains(string(m.Content), "canary") {
			t.Errorf("%s holds a secret", m.Target)
		}
	}
	if m := p.mount("/etc/carrel/npmrc"); m == nil || string(m.Content) != "registry=https://r.test/\n" {
		t.Errorf("the registry was not taken over: %+v", m)
	}
	if p.Program != "/usr/bin/true" || p.Dir != h.Cwd || p.env("HOME") != "/home/desk" {
		t.Errorf("program %s, dir %s, home %s", p.Program, p.Dir, p.env("HOME"))
	}
}

func TestManagersAreShownWithWhatTheirToolsNeed(t *testing.T) {
	for name, c := range map[string]struct {
		files  map[string]string
		path   string
		run    string
		sees   []string
		hidden []string
		env    string
	}{
		"pyenv": {map[string]string{".pyenv/shims/py": "#!/bin/sh", ".pyenv/libexec/pyenv": "", ".pyenv/versions/3/bin/py": "", ".pyenv/.git/config": ""},
			".pyenv/shims", "py", []string{".pyenv/libexec/pyenv", ".pyenv/versions/3/bin/py"}, []string{".pyenv/.git/config"}, "PYENV_ROOT=.pyenv"},
		"rustup": {map[string]string{".cargo/bin/rustup": "", ".cargo/bin/cargo": "->rustup", ".rustup/toolchains/s/bin/cargo": "", ".rustup/settings.toml": ""},
			".cargo/bin", "cargo", []string{".cargo/bin/rustup", ".rustup/toolchains/s/bin/cargo", ".rustup/settings.toml"}, []string{".cargo/credentials.toml"}, "RUSTUP_HOME=.rustup"},
		"nvm": {map[string]string{".nvm/versions/node/v1/bin/node": "", ".nvm/versions/node/v1/bin/claude": "->../lib/node_modules/c/cli.js", ".nvm/versions/node/v1/lib/node_modules/c/cli.js": "#!/usr/bin/env node"},
			".nvm/versions/node/v1/bin", "claude", []string{".nvm/versions/node/v1/lib/node_modules/c/cli.js"}, nil, "NVM_DIR=.nvm"},
		"native claude": {map[string]string{".local/share/claude/versions/2": "#!/bin/sh", ".local/bin/claude": "->HOME/.local/share/claude/versions/2", ".local/share/keyrings/x": ""},
			".local/bin", "claude", []string{".local/share/claude/versions/2"}, []string{".local/share/keyrings/x", ".local/state/carrel/log"}, ""},
		"pipx": {map[string]string{".local/bin/aider": "->HOME/.local/share/pipx/venvs/a/bin/aider", ".local/share/pipx/venvs/a/bin/aider": "#!HOME/.local/share/pipx/venvs/a/bin/python", ".local/share/pipx/venvs/a/bin/python": "->/usr/bin/env"},
			".local/bin", "aider", []string{".local/share/pipx/venvs/a/bin/aider"}, nil, ""},
		"volta":     {map[string]string{".volta/bin/node": "", ".volta/tools/x": "", ".volta/log/x": ""}, ".volta/bin", "node", []string{".volta/tools/x"}, []string{".volta/log/x"}, "VOLTA_HOME=.volta"},
		"ruby gems": {map[string]string{".local/share/gem/ruby/3.1/bin/rake": "", ".local/share/gem/credentials": ""}, ".local/share/gem/ruby/3.1/bin", "rake", []string{".local/share/gem/ruby/3.1/bin/rake"}, []string{".local/share/gem/credentials"}, ""},
		"virtual environment": {map[string]string{"envs/a/pyvenv.cfg": "home = HOME/.pyenv/versions/3/bin\n", "envs/a/bin/tool": "#!HOME/envs/a/bin/python\n", "envs/a/bin/python": "->HOME/.pyenv/versions/3/bin/python",
			"envs/a/lib/x.py": "", "envs/b/x": "", ".pyenv/versions/3/bin/python": "#!/bin/sh", ".pyenv/versions/3/lib/os.py": ""},
			"envs/a/bin", "tool", []string{"envs/a/lib/x.py", ".pyenv/versions/3/lib/os.py"}, []string{"envs/b/x"}, ""},
		"npm prefix": {map[string]string{"apps/node_modules/.bin/tool": "->../tool/cli.js", "apps/node_modules/tool/cli.js": "#!/usr/bin/env sh\n", "apps/node_modules/dep/index.js": "", "apps/.npmrc": ""},
			"apps/node_modules/.bin", "tool", []string{"apps/node_modules/tool/cli.js", "apps/node_modules/dep/index.js"}, []string{"apps/.npmrc"}, ""},
		"pip --user": {map[string]string{".local/bin/aider": "#!/usr/bin/python3\n", ".local/lib/python3/x.py": ""}, ".local/bin", "aider", []string{".local/lib/python3/x.py"}, nil, "PYTHONUSERBASE=.local"},
		"asdf":       {map[string]string{".asdf/shims/node": "#!/bin/sh", ".tool-versions": "nodejs 22\n", ".asdf/installs/nodejs/22/bin/node": ""}, ".asdf/shims", "node", []string{".tool-versions", ".asdf/installs/nodejs/22/bin/node"}, nil, "ASDF_DATA_DIR=.asdf"},
		"fnm": {map[string]string{"run/multishell": "->HOME/.local/share/fnm/node-versions/v22/installation", ".local/share/fnm/node-versions/v22/installation/bin/node": "", ".local/share/fnm/node-versions/v22/installation/lib/x": ""},
			"run/multishell/bin", "node", []string{".local/share/fnm/node-versions/v22/installation/lib/x"}, nil, "FNM_DIR=.local/share/fnm"},
		"own bin": {map[string]string{"bin/tool": "#!/bin/sh", "bin2": ""}, "bin", "tool", []string{"bin/tool"}, []string{"bin2"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := home(t, with(secrets, c.files))
			h = h.path(filepath.Join(h.Home, c.path))
			p := build(t, h, h.request(c.run))
			if p.Program != filepath.Join(h.Home, c.path, c.run) {
				t.Errorf("program %s", p.Program)
			}
			for _, f := range c.sees {
				if !p.sees(filepath.Join(h.Home, f)) {
					t.Errorf("~/%s is not visible", f)
				}
			}
			for _, f := range c.hidden {
				if p.sees(filepath.Join(h.Home, f)) {
					t.Errorf("~/%s is visible", f)
				}
			}
			for f := range secrets {
				if p.sees(filepath.Join(h.Home, f)) {
					t.Errorf("~/%s is visible", f)
				}
			}
			if name, rel, ok := strings.Cut(c.env, "="); ok && p.env(name) != filepath.Join(h.Home, rel) {
				t.Errorf("%s is %q", name, p.env(name))
			}
			for _, m := range p.Mounts {
				if m.Kind == sandbox.MountBind && within(m.Source, h.Home) && !m.Adopt {
					t.Errorf("%s is the user's and is not adopted", m.Source)
				}
			}
		})
	}
}

func TestDangerousPathsAreRefused(t *testing.T) {
	h := home(t, with(secrets, map[string]string{".config/tool/x": "", "data/x": "", "keys": "->.ssh"}))
	for _, path := range []string{"/", "/home", h.Home, filepath.Dir(h.Home), "~/.ssh", "~/.ssh/id_ed25519", "~/.config", "~/.aws", "~/.local", "~/.local/state",
		"~/.local/state/carrel", "~/keys", "/etc/shadow", "/etc", "/var/run/docker.sock", "/proc", "/dev/null", "/sys", "/run", "~/nowhere"} {
		r := h.request("true")
		r.RO = []Asked{{path, "--ro"}}
		if _, err := Build(h, r); err == nil {
			t.Errorf("--ro %s is accepted", path)
		}
	}
	r := h.request("true")
	r.RO = []Asked{{"~/data", "--ro"}, {"~/.config/tool", "ro at config.yaml:3"}}
	if p := build(t, h, r); !p.sees(h.Home+"/data/x") || !p.sees(h.Home+"/.config/tool/x") {
		t.Error("what may be shown is not shown")
	}
}

func TestAPathEntryThatWouldShowTooMuchIsLeftOut(t *testing.T) {
	h := home(t, with(secrets, map[string]string{"tool": "#!/bin/sh"}))
	if err := os.Chmod(h.Home+"/tool", 0o755); err != nil {
		t.Fatal(err)
	}
	h = h.path(h.Home, ".", "bin", h.Home+"/.ssh", "/run")
	p := build(t, h, h.request("true"))
	if path := p.env("PATH"); path != "/usr/bin:/bin:/home/desk/.local/bin" {
		t.Errorf("PATH inside %s", path)
	}
	// By path, the file alone is shown.
	p = build(t, h, h.request("../tool"))
	if m := p.mount(h.Home + "/tool"); m == nil || p.Program != h.Home+"/tool" || p.sees(h.Home+"/.netrc") {
		t.Errorf("program %s, mount %+v", p.Program, m)
	}
}

func TestCommandsThatCannotStart(t *testing.T) {
	h := home(t, map[string]string{"plain": "x", "ws/script": "#!/bin/sh"})
	for _, c := range []struct {
		command string
		code    int
	}{
		{"no-such-command-anywhere", 127}, {"../no-such", 127}, {"../plain", 126}, {"/usr", 126}, {"/nowhere/at/all", 127},
	} {
		_, err := Build(h, h.request(c.command))
		var start *sandbox.StartError
		if !errors.As(err, &start) || start.Code != c.code {
			t.Errorf("%s: %v", c.command, err)
		}
	}
	for _, c := range []string{"./script", "/workspace/script", "./made-by-the-agent-before"} {
		if p := build(t, h, h.request(c)); !within(p.Program, h.Home+"/ws") {
			t.Errorf("%s: program %s", c, p.Program)
		}
	}
}

func TestWorkspacesThatAreNoProject(t *testing.T) {
	h := home(t, secrets)
	for _, ws := range []string{"/", h.Home, filepath.Dir(h.Home), "relative", "", h.Home + "/.local", h.Home + "/.local/state/carrel/x", h.Home + "/.config", h.Home + "/.ssh/x",
		"/proc", "/sys/kernel", "/dev", "/etc", "/root", "/home", "/etc/ssh/x", "/var"} {
		r := h.request("true")
		r.Workspace = ws
		if _, err := Build(h, r); err == nil {
			t.Errorf("workspace %q is accepted", ws)
		}
	}
	for _, ws := range []string{"/srv/project", "/root/project", "/dev/shm/project", "/run/user/1000/project"} {
		if err := Check(h, ws, nil); err != nil {
			t.Errorf("workspace %q: %v", ws, err)
		}
	}
}

// A socket can be connected to through a read-only mount, out of every wall.
// What --ro names in the workspace is a copy that the agent writes: it is said,
// and not among what was shown read-only. What is not there is refused there, too.
func TestReadOnlyOfTheWorkspaceIsNotPromised(t *testing.T) {
	h := home(t, map[string]string{"ws/docs/x": "", "data/x": ""})
	r := h.request("true")
	h.Cwd = r.Workspace
	r.RO = []Asked{{"docs", "--ro"}, {"../data", "--ro"}}
	p := build(t, h, r)
	if !slices.Equal(p.Shown, []string{h.Home + "/data"}) {
		t.Errorf("shown: %q", p.Shown)
	}
	if !slices.ContainsFunc(p.Warnings, func(w string) bool { return strings.Contains(w, "--ro docs: it is in the workspace") }) {
		t.Errorf("nothing is said of docs: %q", p.Warnings)
	}
	r.RO = []Asked{{"nowhere", "ro at config.yaml:3"}}
	if _, err := Build(h, r); err == nil || !strings.HasPrefix(err.Error(), "ro at config.yaml:3 nowhere: ") {
		t.Errorf("what is not there is told as %v", err)
	}
}

func TestADirectoryWithASocketIsRefused(t *testing.T) {
	h := home(t, map[string]string{"data/x": "", "bin/tool": "#!/bin/sh"})
	for _, dir := range []string{"data", "bin"} {
		l, err := net.Listen("unix", filepath.Join(h.Home, dir, "agent.sock"))
		if err != nil {
			t.Fatalf("a socket in the test's own directory: %v; set TMPDIR to a shorter path", err)
		}
		defer l.Close()
	}
	for _, path := range []string{"~/data", "~/data/agent.sock"} {
		r := h.request("true")
		r.RO = []Asked{{path, "--ro"}}
		if _, err := Build(h, r); err == nil {
			t.Errorf("--ro %s is accepted", path)
		}
	}
	h = h.path(h.Home + "/bin")
	if p := build(t, h, h.request("true")); p.sees(h.Home + "/bin/agent.sock") {
		t.Error("a socket is visible by the PATH")
	}
}

func TestLinksOnTheWayAreShown(t *testing.T) {
	h := home(t, map[string]string{"opt/v2/bin/tool": "#!/bin/sh", "opt/current": "->v2", "shortcut": "->HOME/opt/current/bin/tool"})
	p := build(t, h, h.request("../shortcut"))
	for _, l := range []string{"shortcut", "opt/current"} {
		if m := p.mount(filepath.Join(h.Home, l)); m == nil || m.Kind != sandbox.MountSymlink {
			t.Errorf("%s: %+v", l, m)
		}
	}
	if !p.sees(h.Home + "/opt/v2/bin/tool") {
		t.Error("the tool is not visible")
	}
}

func TestTheRealToolsOfThisMachine(t *testing.T) {
	cwd := t.TempDir()
	real := os.Getenv("HOME")
	if real == "" || within(cwd, real) {
		needs.Missing(t, "a home that does not hold the temporary directory", nil)
	}
	h := Host{Home: real, Cwd: cwd, Environ: os.Environ(), UserName: "u", UID: 1000, GID: 1000}
	for _, tool := range []string{"sh", "git", "go"} {
		p, err := Build(h, Request{Argv: []string{tool}, Workspace: cwd})
		if err != nil {
			t.Errorf("%s: %v", tool, err)
			continue
		}
		for _, m := range p.Mounts {
			if m.Kind == sandbox.MountBind && (m.Source == real || within(real, m.Source)) {
				t.Errorf("%s: the home is visible: %+v", tool, m)
			}
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	h := home(b, secrets)
	h.Environ = append(h.Environ, "PATH="+os.Getenv("PATH"))
	for b.Loop() {
		build(b, h, h.request("true"))
	}
}

func BenchmarkBuildHere(b *testing.B) {
	h := Host{Home: os.Getenv("HOME"), Cwd: "/tmp", Environ: os.Environ(), UserName: "u", UID: 1000, GID: 1000}
	for b.Loop() {
		if _, err := Build(h, Request{Argv: []string{"true"}, Workspace: "/tmp"}); err != nil {
			b.Fatal(err)
		}
	}
}
