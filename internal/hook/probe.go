package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Probe starts a registered hook as its client would, asks about something
// that the floor of every policy denies, in the project at dir, and returns
// how long the answer took. An error says what was wrong with it.
func Probe(ctx context.Context, program string, args []string, dir string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	question, err := json.Marshal(object{
		"hook_event_name": PreToolUse, "session_id": "carrel doctor", "cwd": dir, "permission_mode": "default",
		"tool_name": "Write", "tool_input": object{"file_path": filepath.Join(dir, ".git", "hooks", "carrel-doctor"), "content": "x"},
	})
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
	var reply struct {
		Specific struct {
			Decision string `json:"permissionDecision"`
			Reason   string `json:"permissionDecisionReason"`
		} `json:"hookSpecificOutput"`
	}
	if err := json.Unmarshal(out, &reply); err != nil {
		return took, fmt.Errorf("it did not answer in JSON, which a client takes for a yes: %w", err)
	}
	switch {
	case reply.Specific.Decision != "deny":
		return took, fmt.Errorf("it did not deny a git hook: %.200s", out)
	case strings.HasPrefix(reply.Specific.Reason, faulty):
		return took, fmt.Errorf("it denies everything: %s", strings.TrimPrefix(reply.Specific.Reason, faulty))
	}
	return took, nil
}
