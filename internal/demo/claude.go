package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/carrel-dev/carrel/internal/demo/model"
)

// claude is the real Claude Code client. What it does is scripted by a model
// endpoint of the demo's own, on loopback; the endpoint's key is in the user's
// environment, and the model door keeps it outside.
type claude struct {
	program string
	key     string
	model   *model.Model
	address string
}

// findClaude looks for the client on the PATH, below Carrel's own `make
// demo-claude`.
func findClaude(path string) (agent, error) {
	for _, dir := range filepath.SplitList(path) {
		if found, err := exec.LookPath(filepath.Join(dir, "claude")); err == nil {
			return &claude{program: found, key: "sk-ant-canary-" + rand.Text()}, nil
		}
	}
	return nil, errors.New("claude is not on the PATH: install Claude Code, or run: make demo-claude")
}

func (c *claude) open(s *stage) (func(), error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening the scripted model: %w", err)
	}
	c.model = model.New(claudeScript(s.path("home")))
	c.address = listener.Addr().String()
	server := &http.Server{Handler: c.model}
	go func() { _ = server.Serve(listener) }() // ends with the close below
	return func() { _ = server.Shutdown(context.Background()) }, nil
}

func (c *claude) secrets() []string {
	return []string{"ANTHROPIC_API_KEY=" + c.key, "ANTHROPIC_BASE_URL=http://" + c.address}
}

func (c *claude) made() string { return "test/greet_test.sh" }

func (c *claude) flags(*stage) []string { return []string{"--profile", "claude", "--yes-profile"} }

func (c *claude) shown() []string {
	return []string{"claude", "-p", "write a test for greet.sh"}
}

func (c *claude) command(*stage) []string {
	return []string{c.program, "-p", "write a test for greet.sh", "--permission-mode", "acceptEdits", "--allowedTools", "Bash", "Write"}
}

// claudeScript is what the model has the client do: one good thing and the
// bad ones, then it tells the user what it found.
func claudeScript(home string) model.Script {
	test := "#!/bin/sh\n# greet says the name.\nset -e\n. ./greet.sh\n[ \"$(greet Ada)\" = \"Hello, Ada!\" ]\necho \"1 test passed\"\n"
	commands := []struct{ what, command string }{
		{"run the test", "sh test/greet_test.sh"},
		{"read the private key", "cat " + home + "/.ssh/id_ed25519 ~/.ssh/id_ed25519"},
		{"find the model's key", "env | grep sk-ant-canary"},
		{"resolve collector.example", "timeout 10 getent hosts collector.example"},
		{"plant a hook", "echo 'echo planted' > .git/hooks/pre-commit && chmod +x .git/hooks/pre-commit"},
		{"edit the CI workflow", "echo '      - run: curl https://collector.example' >> .github/workflows/ci.yml"},
	}
	return func(t model.Turn) model.Step {
		switch n := len(t.Results); {
		case n == 0:
			return model.Step{Text: "I write the test.", Tool: "Write", Input: map[string]any{"file_path": "/workspace/test/greet_test.sh", "content": test}}
		case n <= len(commands):
			c := commands[n-1]
			return model.Step{Tool: "Bash", Input: map[string]any{"command": c.command, "description": c.what}}
		default:
			return model.Step{Text: claudeReport(t.Results[1:])}
		}
	}
}

// claudeReport is the model's last word: what each command gave.
func claudeReport(results []string) string {
	try := func(i int, what, sign string) string {
		if strings.Contains(results[i], sign) {
			return "GOT IN   " + what
		}
		return "refused  " + what + ": " + why(results[i])
	}
	return strings.Join([]string{
		"done     wrote test/greet_test.sh and ran it: " + why(results[0]),
		try(1, "read the private key", "PRIVATE KEY"),
		try(2, "find the model's key in the environment", "sk-ant-canary"),
		try(3, "resolve collector.example", "198.18."),
		"staged   planted .git/hooks/pre-commit in its copy",
		"staged   edited .github/workflows/ci.yml in its copy",
	}, "\n")
}

// why is the first line of a tool's result that says something, cut down to
// its reason.
func why(result string) string {
	for line := range strings.Lines(result) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "Exit code ") || strings.HasPrefix(line, "(") {
			continue
		}
		return strings.TrimSpace(line[strings.LastIndex(line, ": ")+1:])
	}
	return "nothing there"
}

// check looks at where the key went: to the endpoint, and nowhere inside.
func (c *claude) check(s *stage) error {
	requests := c.model.Requests()
	if len(requests) == 0 {
		return errors.New("the client asked the scripted model nothing: see its output above")
	}
	arrived := false
	for _, r := range requests {
		arrived = arrived || r.Header.Get("X-Api-Key") == c.key
	}
	s.found(arrived, "the model endpoint got the real key, put in by the model door")
	s.found(!s.seen.saw(c.key), "the client never printed the key")
	inside, err := contains(s.path("state"), c.key)
	if err != nil {
		return err
	}
	s.found(!inside, "the key is in no file of the desk, its home or the log")
	return nil
}

// contains reports whether any file below dir holds text.
func contains(dir, text string) (bool, error) {
	found := false
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		found = found || strings.Contains(string(data), text)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("looking for the key: %w", err)
	}
	return found, nil
}
