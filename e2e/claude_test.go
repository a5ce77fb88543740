//go:build linux

package e2e

import (
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/internal/demo/model"
	"github.com/carrel-dev/carrel/internal/needs"
)

// The key is a canary: it must reach the model's endpoint and nothing else.
const modelKey = "sk-ant-canary-4f8b21c97d3e5a60"

// scriptedModel serves a script on loopback, as the endpoint the user's own
// environment names.
func (h *host) scriptedModel(script model.Script) *model.Model {
	h.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.Fatal(err)
	}
	m := model.New(script)
	server := &http.Server{Handler: m}
	go func() { _ = server.Serve(l) }()
	h.Cleanup(func() { _ = server.Close() })
	h.env = append(h.env, "ANTHROPIC_API_KEY="+modelKey, "ANTHROPIC_BASE_URL=http://"+l.Addr().String())
	return m
}

func (h *host) claude(program, prompt string, args ...string) result {
	h.Helper()
	all := []string{"run", "--profile", "claude", "--yes-profile", "--", program, "-p", prompt, "--permission-mode", "acceptEdits", "--allowedTools", "Bash", "Write"}
	return h.carrel(append(all, args...)...)
}

func bash(command string) model.Step {
	return model.Step{Tool: "Bash", Input: map[string]any{"command": command, "description": "try"}}
}

// reporting ends a script by telling the user what each tool answered.
func reporting(steps ...model.Step) model.Script {
	return func(t model.Turn) model.Step {
		if n := len(t.Results); n < len(steps) {
			return steps[n]
		}
		return model.Step{Text: "REPORT\n" + strings.Join(t.Results, "\n---\n")}
	}
}

func TestClaudeCodeWorksAtADesk(t *testing.T) {
	program := claudeProgram(t)
	asEachUser(t, func(h *host) {
		h.write("home/.ssh/id_ed25519", canary)
		m := h.scriptedModel(reporting(
			model.Step{Text: "Writing.", Tool: "Write", Input: map[string]any{"file_path": h.repo + "/hello.txt", "content": "hello\n"}},
			bash("cat hello.txt; sh main.sh"),
			bash("cat "+h.home+"/.ssh/id_ed25519 ~/.ssh/id_ed25519"),
			bash("env; cat /proc/self/environ | tr '\\0' '\\n'; grep -rs sk-ant ~ /tmp /workspace | head"),
			bash("timeout 10 getent hosts evil.test || echo no such name"),
			bash("git add -A && git commit -q -m wrote && git log --oneline | wc -l"),
		))
		r := h.claude(program, "write hello")
		h.expect(r, 0, "REPORT", "main", "No such file", "no such name", "2")
		h.unseen(r)
		keyStaysOutside(h, m, r)
		c := h.review()
		if f, ok := find(c.Files, "hello.txt"); !ok || f.Size != 6 {
			h.Errorf("the change is %+v", c.Files)
		}
		h.approveAndApply("--branch", "made")
		if got := h.git("show", "made:hello.txt"); got != "hello" {
			h.Errorf("the branch has %q", got)
		}
	})
}

// keyStaysOutside checks that the endpoint got the key and that it is in no
// file of the desk, in no conversation and in no output.
func keyStaysOutside(h *host, m *model.Model, r result) {
	h.Helper()
	arrived := 0
	for _, q := range m.Requests() {
		if q.Header.Get("X-Api-Key") == modelKey {
			arrived++
		}
		if strings.Contains(string(q.Body), modelKey) {
			h.Error("the key is in the conversation")
		}
		if got := q.Header.Get("Authorization"); got != "" {
			h.Errorf("the placeholder went on as %q", got)
		}
	}
	if arrived == 0 {
		h.Errorf("the endpoint never saw the key in %d requests\n%s", len(m.Requests()), r)
	}
	if strings.Contains(r.out+r.err, modelKey) {
		h.Error("the key was printed")
	}
	for _, dir := range []string{"state", "repo", "config"} {
		if out, _ := exec.Command("grep", "-rlaF", modelKey, filepath.Join(h.dir, dir)).Output(); len(out) > 0 {
			h.Errorf("the key is in %s", out)
		}
	}
}

func TestClaudeCodeSecondRunContinues(t *testing.T) {
	program := claudeProgram(t)
	h := asUser(t)
	m := h.scriptedModel(reporting(bash("echo first > one.txt; ls")))
	h.expect(h.claude(program, "the first task"), 0, "one.txt")
	h.expect(h.claude(program, "the second task", "--continue"), 0, "one.txt")
	requests := m.Requests()
	if len(requests) == 0 {
		h.Fatal("the endpoint was never asked")
	}
	last := string(requests[len(requests)-1].Body)
	if !strings.Contains(last, "the first task") || !strings.Contains(last, "the second task") {
		h.Error("the second run does not know the first")
	}
}

func TestClaudeCodeShowsItsScreen(t *testing.T) {
	needs.Tool(t, "tmux")
	program := claudeProgram(t)
	asEachUser(t, func(h *host) {
		h.scriptedModel(reporting(model.Step{Tool: "Write", Input: map[string]any{"file_path": h.repo + "/typed.txt", "content": "typed\n"}}))
		s := h.screen(carrelBin, "run", "--profile", "claude", "--yes-profile", "--", program, "--permission-mode", "acceptEdits")
		s.await("Claude Code v", "accept edits on")
		s.keys("write it down", "Enter")
		s.await("REPORT")
		s.keys("C-c")
		time.Sleep(300 * time.Millisecond)
		s.keys("C-c")
		s.await("changed: 1 file", "[k]eep")
		s.keys("k", "Enter")
		s.await("exit=")
	})
}
