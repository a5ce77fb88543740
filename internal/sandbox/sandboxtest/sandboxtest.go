// Package sandboxtest is the one suite that every tier runs: what an agent
// may do at a desk, and what it must not get away with. It is trusted with
// nothing; only tests import it.
package sandboxtest

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/gate/gatetest"
	"github.com/carrel-dev/carrel/internal/sandbox"
)

// bed is what one test works with.
type bed struct {
	t    testing.TB
	tier sandbox.Tier
	dir  string // on the host, the invoking user's
}

// spec returns a desk with the host's programs and a staged workspace.
func (b *bed) spec(args ...string) sandbox.Spec {
	b.t.Helper()
	ws, layer := filepath.Join(b.dir, "ws"), filepath.Join(b.dir, "layer")
	for _, d := range []string{ws, filepath.Join(layer, "upper"), filepath.Join(layer, "work"), filepath.Join(b.dir, "home")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			b.t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	return sandbox.Spec{
		Run:     carrel.NewRunID(),
		Program: args[0], Args: args, Dir: "/workspace",
		Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/agent", "CARREL_TEST_DIR=" + b.dir},
		Mounts: append(programs(),
			sandbox.Mount{Kind: sandbox.MountBind, Target: probePath, Source: self},
			sandbox.Mount{Kind: sandbox.MountBind, Target: "/home/agent", Source: filepath.Join(b.dir, "home"), Writable: true, Adopt: true},
			sandbox.Mount{Kind: sandbox.MountOverlay, Target: "/workspace", Lower: ws,
				Upper: filepath.Join(layer, "upper"), Work: filepath.Join(layer, "work"), Writable: true, Adopt: true},
		),
		RuntimeDir: b.dir,
	}
}

// programs are the host's program directories and the few settings that its
// programs need; /etc is the host's own, so that tests can try to read it.
func programs() []sandbox.Mount {
	mounts := []sandbox.Mount{
		{Kind: sandbox.MountBind, Target: "/usr", Source: "/usr"},
		{Kind: sandbox.MountBind, Target: "/etc", Source: "/etc"},
	}
	for _, d := range []string{"/bin", "/sbin", "/lib", "/lib64", "/lib32"} {
		if to, err := os.Readlink(d); err == nil {
			mounts = append(mounts, sandbox.Mount{Kind: sandbox.MountSymlink, Target: d, Source: to})
		} else {
			mounts = append(mounts, sandbox.Mount{Kind: sandbox.MountBind, Target: d, Source: d, Optional: true})
		}
	}
	return mounts
}

// start starts s with a grant.
func (b *bed) start(s sandbox.Spec) (d sandbox.Desk, err error) {
	g, _ := gatetest.AllowAll()
	a := carrel.Action{Operation: carrel.OpExec, Run: s.Run, Argv: []carrel.Text{carrel.Text(s.Program)}}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err = g.Do(ctx, a, func(ctx context.Context, live gate.Grant) (carrel.Outcome, error) {
		d, err = b.tier.Start(ctx, live, a, s)
		return carrel.Outcome{}, err
	})
	return d, err
}

// run runs s to its end and returns what it printed.
func (b *bed) run(s sandbox.Spec) (stdout, stderr string, exit sandbox.Exit) {
	b.t.Helper()
	s.Stdout, s.Stderr = b.file("stdout"), b.file("stderr")
	d, err := b.start(s)
	if err != nil {
		b.t.Fatalf("starting %q: %v", s.Args, err)
	}
	exit, err = d.Wait()
	if err != nil {
		b.t.Fatalf("waiting for %q: %v", s.Args, err)
	}
	return b.text(s.Stdout), b.text(s.Stderr), exit
}

// sh runs a shell script and returns its output; it must end with code 0.
func (b *bed) sh(script string) string {
	b.t.Helper()
	out, errs, exit := b.run(b.spec("/bin/sh", "-c", script))
	if exit.Code != 0 {
		b.t.Fatalf("%s: exit %+v\n%s%s", script, exit, out, errs)
	}
	return out
}

func (b *bed) file(name string) *os.File {
	b.t.Helper()
	f, err := os.Create(filepath.Join(b.dir, name))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { f.Close() })
	return f
}

func (b *bed) text(f *os.File) string {
	b.t.Helper()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		b.t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := io.Copy(&out, f); err != nil {
		b.t.Fatal(err)
	}
	return out.String()
}

func who() string {
	if os.Geteuid() == 0 {
		return "root"
	}
	return "user " + strconv.Itoa(os.Geteuid())
}
