package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Probe starts a registered hook as its client would, asks about something
// that the floor of every policy denies, in the project at dir, and returns
// how long the answer took. An error says what was wrong with it.
func (c *Client) Probe(ctx context.Context, program string, args []string, dir string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	question, err := c.question(dir)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(question)
	started := time.Now()
	out, err := cmd.Output()
	took := time.Since(started)
	if err != nil {
		return took, fmt.Errorf("it ended with %w, which a client takes for a yes", err)
	}
	return took, deniedWell(out)
}

// probedFile stands for the file that the question is about.
const probedFile = "{git}/hooks/carrel-doctor"

// question is a call about a file that no policy lets an agent write.
func (c *Client) question(dir string) ([]byte, error) {
	q := object{"hook_event_name": c.BeforeTool(), "session_id": "carrel doctor", "cwd": dir, "permission_mode": "default"}
	maps.Copy(q, c.probe)
	input := object{}
	for name, value := range c.probe["tool_input"].(object) {
		input[name] = strings.ReplaceAll(value.(string), "{git}", filepath.Join(dir, ".git"))
	}
	q["tool_input"] = input
	return json.Marshal(q)
}

// deniedWell reads the answer to the question in any client's words.
func deniedWell(out []byte) error {
	var reply struct {
		Decision string `json:"decision"`
		Reason   string `json:"reason"`
		Specific struct {
			Decision string `json:"permissionDecision"`
			Reason   string `json:"permissionDecisionReason"`
		} `json:"hookSpecificOutput"`
	}
	if err := json.Unmarshal(out, &reply); err != nil {
		return fmt.Errorf("it did not answer in JSON, which a client takes for a yes: %w", err)
	}
	reason := reply.Reason + reply.Specific.Reason
	switch {
	case reply.Specific.Decision != "deny" && reply.Decision != "deny":
		return fmt.Errorf("it did not deny a git hook: %.200s", out)
	case strings.HasPrefix(reason, faulty):
		return fmt.Errorf("it denies everything: %s", strings.TrimPrefix(reason, faulty))
	}
	return nil
}
