//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/carrel-dev/carrel/internal/needs"
)

// agentTries is what the scripted models have an agent run: useful work, and
// what must come to nothing.
const agentTries = `echo made > made.txt; cat ~/.ssh/id_ed25519 %[1]s/.ssh/id_ed25519; env; timeout 10 getent hosts evil.test || echo no such name`

// endpoint is a model's endpoint on loopback. It answers with the command to
// run until an answer to it is among what it is shown, and remembers all.
type endpoint struct {
	mu   sync.Mutex
	said []string // guarded by mu: bodies
	keys []string // guarded by mu: what the header for keys held
}

// endpoint starts one whose answers are chosen by the body of a request.
func (h *host) endpoint(header string, reply func(body string) []map[string]any) (*endpoint, string) {
	h.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.Fatal(err)
	}
	e := &endpoint{}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 16<<20))
		e.mu.Lock()
		e.said, e.keys = append(e.said, string(body)), append(e.keys, r.Header.Get(header))
		e.mu.Unlock()
		if r.Method != http.MethodPost {
			fmt.Fprint(w, "{}")
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, event := range reply(string(body)) {
			line, _ := json.Marshal(event)
			if name, ok := event["type"]; ok {
				fmt.Fprintf(w, "event: %s\n", name)
			}
			fmt.Fprintf(w, "data: %s\n\n", line)
		}
	})}
	go func() { _ = server.Serve(l) }()
	h.Cleanup(func() { _ = server.Close() })
	return e, "http://" + l.Addr().String()
}

// held fails the test unless the key reached the endpoint with every request,
// and neither it nor the host's own key was shown to the agent.
func (e *endpoint) held(h *host, key string) {
	h.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	all := strings.Join(e.said, "\n")
	if strings.Contains(all, strings.TrimPrefix(key, "Bearer ")) || strings.Contains(all, canary) {
		h.Error("the agent saw a secret of the host")
	}
	for _, want := range []string{"No such file", "no such name", "placeholder"} {
		if !strings.Contains(all, want) {
			h.Errorf("the model was never told %q", want)
		}
	}
	for _, got := range e.keys {
		if got != key {
			h.Errorf("the endpoint got the key %q", got)
		}
	}
}

// made checks what the agent did, and puts it on a branch.
func (h *host) made() {
	h.Helper()
	if _, ok := find(h.review().Files, "made.txt"); !ok {
		h.Error("made.txt is not in the change")
	}
	h.approveAndApply("--branch", "made")
	if got := h.git("show", "made:made.txt"); got != "made" {
		h.Errorf("the branch has %q", got)
	}
}

func TestCodexWorksAtADesk(t *testing.T) {
	program := filepath.Join(npmPackage(t, "@openai/codex@"+codexVersion), ".bin/codex")
	asEachUser(t, func(h *host) {
		h.write("home/.ssh/id_ed25519", canary)
		e, url := h.endpoint("Authorization", func(body string) []map[string]any {
			item := map[string]any{"type": "function_call", "id": "f1", "call_id": "c1", "name": "exec_command", "arguments": marshal(map[string]any{"cmd": fmt.Sprintf(agentTries, h.home)})}
			if strings.Contains(body, "function_call_output") {
				item = map[string]any{"type": "message", "id": "m1", "role": "assistant", "content": []any{map[string]any{"type": "output_text", "text": "REPORT written"}}}
			}
			return []map[string]any{
				{"type": "response.created", "response": map[string]any{"id": "r1"}},
				{"type": "response.output_item.done", "output_index": 0, "item": item},
				{"type": "response.completed", "response": map[string]any{"id": "r1", "usage": map[string]any{"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}}},
			}
		})
		h.env = append(h.env, "OPENAI_API_KEY="+modelKey, "OPENAI_BASE_URL="+url+"/v1")
		r := h.carrel("run", "--yes-profile", "--", program, "exec", "-m", "gpt-5.1-codex", "make a file")
		h.expect(r, 0, "REPORT written")
		h.unseen(r)
		e.held(h, "Bearer "+modelKey)
		h.made()
	})
}

func TestGeminiCLIWorksAtADesk(t *testing.T) {
	program := filepath.Join(npmPackage(t, "@google/gemini-cli@"+geminiVersion), ".bin/gemini")
	asEachUser(t, func(h *host) {
		h.write("home/.ssh/id_ed25519", canary)
		e, url := h.endpoint("X-Goog-Api-Key", func(body string) []map[string]any {
			part := map[string]any{"functionCall": map[string]any{"name": "run_shell_command", "args": map[string]any{"command": fmt.Sprintf(agentTries, h.home), "description": "try"}}}
			if strings.Contains(body, "functionResponse") {
				part = map[string]any{"text": "REPORT written"}
			}
			return []map[string]any{{
				"candidates":    []any{map[string]any{"content": map[string]any{"role": "model", "parts": []any{part}}, "finishReason": "STOP", "index": 0}},
				"usageMetadata": map[string]any{"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
			}}
		})
		h.env = append(h.env, "GEMINI_API_KEY="+modelKey, "GOOGLE_GEMINI_BASE_URL="+url)
		r := h.carrel("run", "--yes-profile", "--", program, "--yolo", "-m", "gemini-2.5-pro", "-p", "make a file")
		h.expect(r, 0, "REPORT written")
		h.unseen(r)
		e.held(h, modelKey)
		h.made()
	})
}

func marshal(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// npmPackage installs a package of npm once, without its install scripts, and
// returns its node_modules at a place that every user may read.
func npmPackage(t *testing.T, pkg string) string {
	t.Helper()
	needs.Tool(t, "npm", "node")
	dir := installed(t, pkg, func(dir string) error {
		return loudly(dir, "npm", "install", "--prefix", dir, "--ignore-scripts", "--no-fund", "--no-audit", pkg)
	})
	to := filepath.Join(filepath.Dir(carrelBin), filepath.Base(dir), "node_modules")
	if _, err := os.Stat(to); err == nil {
		return to
	}
	if err := os.Mkdir(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	show(t, filepath.Join(dir, "node_modules"), to)
	return to
}
