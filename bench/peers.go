//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// srtVersion is the pinned version of the npm peer.
const srtVersion = "0.0.78"

// peer is one way to run a command.
type peer struct {
	name    string
	missing string              // why it cannot be measured here
	wrap    func([]string) once // the command that runs the given one
	apart   bool                // measured by the timer process
}

// peers prepares every peer for one workspace.
func (b *bench) peers(ws string) []peer {
	return []peer{
		{name: "bare", wrap: func(args []string) once { return once{Args: args, Dir: ws} }},
		b.bwrap(ws),
		b.runtime("crun", ws), b.runtime("runc", ws),
		b.srt(ws), b.docker(ws),
		{name: "carrel run", wrap: b.carrel(ws)},
	}
}

func (b *bench) carrel(ws string, flags ...string) func([]string) once {
	return func(args []string) once {
		all := append([]string{b.bin, "run"}, flags...)
		return once{Args: append(append(all, "--"), args...), Dir: ws, Env: []string{
			"XDG_STATE_HOME=" + b.path("state"), "XDG_DATA_HOME=" + b.path("data"), "XDG_CONFIG_HOME=" + b.path("config"), "XDG_RUNTIME_DIR=" + b.path("runtime"),
		}}
	}
}

// program looks for a peer's program, installing its Debian package if that
// was asked for.
func (b *bench) program(name, pkg string) (string, string) {
	path, err := exec.LookPath(name)
	if err != nil && b.o.install {
		_ = loud("apt-get", "install", "-y", "-qq", pkg)
		path, err = exec.LookPath(name)
	}
	if err != nil {
		return "", "apt-get install " + pkg
	}
	return path, ""
}

func loud(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

func (b *bench) bwrap(ws string) peer {
	path, missing := b.program("bwrap", "bubblewrap")
	return peer{name: "bubblewrap", missing: missing, wrap: func(args []string) once {
		return once{Dir: ws, Args: append([]string{path, "--unshare-all", "--die-with-parent", "--new-session",
			"--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--bind", ws, ws,
			"--ro-bind", b.dir, b.dir, "--bind", ws, ws, "--chdir", ws, "--"}, args...)}
	}}
}

// runtime is an OCI runtime with a bundle made for this machine: the host's
// /usr read-only, the workspace writable, the default namespaces.
func (b *bench) runtime(name, ws string) peer {
	path, missing := b.program(name, name)
	if missing == "" && os.Getuid() != 0 {
		missing = "needs root here"
	}
	p := peer{name: name, missing: missing, apart: true}
	if missing != "" {
		return p
	}
	n := 0
	p.wrap = func(args []string) once {
		n++
		dir := b.path(fmt.Sprintf("%s-%s-%d", name, filepath.Base(ws), n))
		if err := bundle(path, dir, ws, args); err != nil {
			return once{Args: []string{"false", err.Error()}}
		}
		return once{Args: []string{path, "run", "--bundle", dir, fmt.Sprintf("bench-%s-%d-%d", name, os.Getpid(), n)}, Dir: ws}
	}
	return p
}

func bundle(path, dir, ws string, args []string) error {
	for _, d := range []string{"usr", "proc", "dev", "sys", "tmp", "etc", "opt"} {
		if err := os.MkdirAll(filepath.Join(dir, "rootfs", d), 0o755); err != nil {
			return err
		}
	}
	for _, l := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+l, filepath.Join(dir, "rootfs", l)); err != nil {
			return err
		}
	}
	cmd := exec.Command(path, "spec")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s spec: %w: %s", path, err, out)
	}
	file := filepath.Join(dir, "config.json")
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var spec map[string]any
	if err := json.Unmarshal(raw, &spec); err != nil {
		return err
	}
	process := spec["process"].(map[string]any)
	process["terminal"], process["args"], process["cwd"] = false, args, ws
	bind := func(dir string, mode string) map[string]any {
		return map[string]any{"destination": dir, "type": "bind", "source": dir, "options": []string{"rbind", mode}}
	}
	spec["mounts"] = append(spec["mounts"].([]any), bind("/usr", "ro"), bind("/etc", "ro"), bind(ws, "rw"))
	spec["root"] = map[string]any{"path": "rootfs", "readonly": false}
	if raw, err = json.Marshal(spec); err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o644)
}

// srt is the sandbox of the npm registry that comes nearest.
func (b *bench) srt(ws string) peer {
	p := peer{name: "srt " + srtVersion}
	dir := filepath.Join(b.o.cache, "srt-"+srtVersion)
	bin := filepath.Join(dir, "node_modules", ".bin", "srt")
	if _, err := os.Stat(bin); err != nil && b.o.install {
		_ = os.MkdirAll(dir, 0o755)
		_ = loud("npm", "install", "--prefix", dir, "--no-fund", "--no-audit", "@anthropic-ai/sandbox-runtime@"+srtVersion)
		_ = loud("apt-get", "install", "-y", "-qq", "bubblewrap", "socat", "ripgrep")
	}
	if _, err := os.Stat(bin); err != nil {
		p.missing = "npm install @anthropic-ai/sandbox-runtime@" + srtVersion
		return p
	}
	settings := b.path("srt.json")
	_ = os.WriteFile(settings, []byte(`{"network":{"allowedDomains":[],"deniedDomains":[]},"filesystem":{"denyRead":[],"allowWrite":["."],"denyWrite":[]}}`), 0o644)
	p.wrap = func(args []string) once {
		return once{Args: append([]string{bin, "--settings", settings}, args...), Dir: ws}
	}
	return p
}

func (b *bench) docker(ws string) peer {
	p := peer{name: "docker run"}
	if err := exec.Command("docker", "info").Run(); err != nil {
		p.missing = "no Docker engine runs here"
		return p
	}
	if err := exec.Command("docker", "image", "inspect", "debian:stable-slim").Run(); err != nil {
		p.missing = "docker pull debian:stable-slim"
		return p
	}
	p.wrap = func(args []string) once {
		return once{Args: append([]string{"docker", "run", "--rm", "--network", "none", "-v", ws + ":" + ws, "-w", ws, "debian:stable-slim"}, args...), Dir: ws}
	}
	return p
}
