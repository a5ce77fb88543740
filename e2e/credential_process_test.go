//go:build linux

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// attacks.md G 146: what the supervisor knows is in its memory and nowhere
// else: no child, no core file, no crash report, and no other process of the
// user may look.
func TestKeysStayInTheSupervisorsMemory(t *testing.T) {
	asEachUser(t, func(h *host) {
		newInternet(h, `egress: [{host: api.git.test}]
credentials:
  - {name: github, host: api.git.test, from: {file: `+h.dir+`/keys/github}, as: {env: GH_TOKEN}}
  - {name: helped, host: api.git.test, header: X-Other, from: {command: [cat, `+h.dir+`/keys/npm]}, as: {file: ~/.token}}
`)
		keys := canaryKeys()
		for name, key := range map[string]string{"github": canaryGithub, "npm": keys["NPM_KEY"]} {
			if err := os.Chmod(h.write("keys/"+name, key+"\n"), 0o600); err != nil {
				h.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), longest)
		defer cancel()
		cmd := h.command(ctx, "bash", "-c", `ulimit -c unlimited; export GOTRACEBACK=crash; exec "$0" "$@"`, carrelBin,
			"run", "--", "bash", "-c", `printenv GH_TOKEN; cat ~/.token; touch /workspace/started; sleep 60`)
		var errs bytes.Buffer
		out, err := cmd.StdoutPipe()
		if err != nil {
			h.Fatal(err)
		}
		cmd.Stderr = &errs
		if err := cmd.Start(); err != nil {
			h.Fatal(err)
		}
		told := make([]byte, 0, 200)
		for strings.Count(string(told), "\n") < 2 {
			b := make([]byte, 100)
			n, err := out.Read(b)
			if told = append(told, b[:n]...); err != nil {
				h.Fatalf("%s %v %s", told, err, errs.String())
			}
		}
		if !strings.HasPrefix(string(told), "ghp_") || !strings.Contains(string(told), "npm_") || strings.Contains(string(told), "anary") {
			h.Errorf("the agent holds %q", told)
		}
		for pid := range family(h, cmd.Process.Pid) {
			for _, what := range []string{"environ", "cmdline", "comm"} {
				raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, what))
				if bytes.Contains(raw, []byte("R4nd0mCanary")) || bytes.Contains(raw, []byte("C4nary")) {
					h.Errorf("process %d shows a key in %s: %q", pid, what, raw)
				}
			}
		}
		h.memoryIsShut(cmd.Process.Pid)
		h.leftOutside("keys")
		if err := cmd.Process.Signal(syscall.SIGABRT); err != nil {
			h.Fatal(err)
		}
		_ = cmd.Wait()
		if !strings.Contains(errs.String(), "SIGABRT") || strings.Contains(errs.String(), "anary") {
			h.Errorf("crash output, which must be there and without a key:\n%.2000s", errs.String())
		}
		cores, _ := filepath.Glob(h.repo + "/core*")
		if len(cores) > 0 {
			h.Errorf("core files: %v", cores)
		}
		h.leftOutside("keys")
	})
}

// family returns a process and everything it started, directly or not.
func family(h *host, pid int) map[int]bool {
	h.Helper()
	in := map[int]bool{pid: true}
	for grown := true; grown; {
		grown = false
		stats, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, path := range stats {
			raw, err := os.ReadFile(path)
			if err != nil {
				continue
			}
			rest := string(raw[bytes.LastIndexByte(raw, ')')+1:])
			parent, _ := strconv.Atoi(strings.Fields(rest)[1])
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if in[parent] && !in[child] {
				in[child], grown = true, true
			}
		}
	}
	if len(in) < 3 {
		h.Fatalf("only %v is running", in)
	}
	return in
}

// memoryIsShut tries to read the supervisor as another process of its user.
func (h *host) memoryIsShut(pid int) {
	h.Helper()
	if h.uid == 0 {
		return // root may read everything
	}
	r := h.start("", "bash", "-c", fmt.Sprintf("head -c 1 /proc/%d/mem || cat /proc/%d/environ || echo shut; cat /proc/$$/environ | head -c 1 >/dev/null && echo own is open", pid, pid))
	h.expect(r, 0, "shut", "own is open")
}

// leftOutside greps everything but the user's own keys.
func (h *host) leftOutside(except string) {
	h.Helper()
	time.Sleep(50 * time.Millisecond)
	out, _ := exec.Command("grep", "-rlaE", "--exclude-dir="+except, "R4nd0mCanary|C4nary|"+
		"UjRuZDBtQ2FuYXJ5|I0bmQwbUNhbmFye|SNG5kMG1DYW5hcn", h.dir).Output()
	if len(out) > 0 {
		h.Errorf("a key lies in %s", out)
	}
}
