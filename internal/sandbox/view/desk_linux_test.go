package view_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
	"github.com/carrel-dev/carrel/internal/needs"
	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/sandbox/native"
	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
	"github.com/carrel-dev/carrel/internal/sandbox/sandboxtest"
	"github.com/carrel-dev/carrel/internal/sandbox/view"
)

func TestMain(m *testing.M) {
	if os.Args[0] == desk.Name {
		os.Exit(desk.Main())
	}
	os.Exit(m.Run())
}

// In a real desk, with this machine's own tools: what is shown works, what is
// not shown does not exist.
func TestAtARealDesk(t *testing.T) { atARealDesk(t) }

func TestAtARealDeskAsOrdinaryUser(t *testing.T) { sandboxtest.Ordinary(t, "TestAtARealDesk") }

type visit struct {
	t    *testing.T
	host view.Host
	dir  string
	ws   string
	who  native.Identity
}

func atARealDesk(t *testing.T) {
	who, err := native.Who()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	v := &visit{t: t, dir: dir, ws: filepath.Join(dir, "home/ws"), who: who}
	v.write("home/.ssh/id_ed25519", "canary", 0o600)
	v.write("home/ws/.env", "canary", 0o600)
	v.write("home/ws/script", "#!/usr/bin/env sh\necho by path\n", 0o755)
	v.write("home/tools/bin/tool", "#!/bin/sh\necho own tool\n", 0o755)
	for _, d := range []string{"desk", "out", "run"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	v.host = view.Host{Home: filepath.Join(dir, "home"), Cwd: v.ws, Environ: append(os.Environ(), "PATH="+filepath.Join(dir, "home/tools/bin")+":/usr/local/bin:/usr/bin:/bin"),
		UserName: "u", UID: who.Inside, GID: who.Inside}
	t.Run("what is shown works", v.works)
	t.Run("what is not shown is not there", v.walls)
	t.Run("tools of the real home", v.realTools)
}

func (v *visit) write(name, content string, mode os.FileMode) {
	path := filepath.Join(v.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		v.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		v.t.Fatal(err)
	}
}

// run runs a command at a desk and returns what it printed and its exit code.
func (v *visit) run(t *testing.T, host view.Host, argv ...string) (string, int) {
	t.Helper()
	r := view.Request{Argv: argv, Workspace: v.ws, HomeDir: filepath.Join(v.dir, "desk"), OutDir: filepath.Join(v.dir, "out"),
		Staged: []sandbox.Mount{
			{Kind: sandbox.MountBind, Target: view.Workspace, Source: v.ws, Writable: true, Adopt: true},
			{Kind: sandbox.MountSame, Target: v.ws, Source: view.Workspace}},
		Hide: []string{".env"}, GitName: "A B", GitEmail: "a@b.test"}
	p, err := view.Build(host, r)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	s := sandbox.Spec{Run: carrel.NewRunID(), Mounts: p.Mounts, Program: p.Program, Args: p.Args, Env: p.Env, Dir: p.Dir,
		RuntimeDir: filepath.Join(v.dir, "run"), Stdout: out, Stderr: out}
	g, _ := gatetest.AllowAll()
	a := carrel.Action{Operation: carrel.OpExec, Run: s.Run}
	var d sandbox.Desk
	_, err = g.Do(t.Context(), a, func(ctx context.Context, live gate.Grant) (carrel.Outcome, error) {
		d, err = native.New(native.Options{}).Start(ctx, live, a, s)
		return carrel.Outcome{}, err
	})
	if err != nil {
		t.Fatalf("%v: %v", argv, err)
	}
	exit, err := d.Wait()
	if err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(out.Name())
	return string(text), exit.Code
}

func (v *visit) sh(t *testing.T, script, want string) {
	t.Helper()
	if got, code := v.run(t, v.host, "sh", "-c", script); code != 0 || strings.TrimSpace(got) != want {
		t.Errorf("%s: exit %d\n%s\nwant: %s", script, code, got, want)
	}
}

func (v *visit) works(t *testing.T) {
	v.sh(t, "pwd; cd /workspace && ls", v.ws+"\nscript")
	v.sh(t, "echo x > ~/kept; cat /home/desk/kept; id -un; echo $HOME", "x\nu\n/home/desk")
	v.sh(t, "echo x > /tmp/a && cat /var/tmp/a", "x")
	v.sh(t, "echo message > /run/carrel/out/commit-message; grep -c walled /run/carrel/briefing.md", "1")
	v.sh(t, "tool", "own tool")
	if got, err := os.ReadFile(filepath.Join(v.dir, "out/commit-message")); err != nil || string(got) != "message\n" {
		t.Errorf("the proposal for a message: %q, %v", got, err)
	}
	for _, command := range []string{"./script", "/workspace/script"} {
		if got, code := v.run(t, v.host, command); code != 0 || got != "by path\n" {
			t.Errorf("%s: %q, exit %d", command, got, code)
		}
	}
	needs.Tool(t, "git")
	v.sh(t, "git init -q . && git add script && git commit -qm one && git log --format='%an <%ae> %s' && git status --short && rm -rf .git", "A B <a@b.test> one\n?? .env")
}

func (v *visit) walls(t *testing.T) {
	v.sh(t, "cat "+v.dir+"/home/.ssh/id_ed25519 ~/.ssh/id_ed25519 /root/.ssh/* 2>/dev/null | wc -l", "0")
	v.sh(t, "cat .env /workspace/.env | wc -c", "0")
	v.sh(t, "cat /etc/shadow /etc/ssh/* "+v.dir+"/desk/* 2>/dev/null | wc -c", "0")
}

// realTools tries the managers that are on the PATH of whoever runs the tests:
// some must be there.
func (v *visit) realTools(t *testing.T) {
	needs.Tool(t, "python3", "node", "go")
	host := v.host
	host.Home = os.Getenv("HOME")
	host.Environ = os.Environ()
	for _, argv := range [][]string{{"python3", "-c", "print(6*7)"}, {"cargo", "--version"}, {"node", "-p", "6*7"}, {"go", "env", "GOROOT"}, {"ruby", "-e", "puts 6*7"}} {
		path, err := exec.LookPath(argv[0])
		if err != nil {
			continue
		}
		if got, code := v.run(t, host, argv...); code != 0 {
			t.Errorf("%s: exit %d: %s", path, code, got)
		} else {
			t.Logf("%s: %s", path, strings.TrimSpace(got))
		}
	}
}
