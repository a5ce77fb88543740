package hook

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/carrel-dev/carrel"
)

// ClaudeCode is the name of the client, as on the command line and in records.
const ClaudeCode = "claude-code"

// maxInput bounds what a client may say in one call.
const maxInput = 32 << 20

// Claude is one call of a hook by Claude Code.
type Claude struct {
	Name    string          `json:"hook_event_name"`
	Session string          `json:"session_id"`
	Cwd     string          `json:"cwd"`
	Mode    string          `json:"permission_mode"`
	Tool    string          `json:"tool_name"`
	Input   json.RawMessage `json:"tool_input"`
	ToolUse string          `json:"tool_use_id"`
}

// The calls that this package answers with more than a nod.
const (
	PreToolUse        = "PreToolUse"
	PermissionRequest = "PermissionRequest"
	PostToolUse       = "PostToolUse"
	UserPromptSubmit  = "UserPromptSubmit"
	SessionStart      = "SessionStart"
	SessionEnd        = "SessionEnd"
	Stop              = "Stop"
)

// blockable are the calls that can be stopped by a decision at the top level.
var blockable = map[string]bool{
	UserPromptSubmit: true, "UserPromptExpansion": true, "PostToolUseFailure": true, "PostToolBatch": true,
	"ConfigChange": true, "PreCompact": true, PostToolUse: true,
}

// ReadClaude reads what the client wrote. expected is the name of the hook as
// the settings registered it, "" if they do not say; another one is an error.
// On an error the call can still be answered.
func ReadClaude(raw []byte, expected string) (Claude, error) {
	var c Claude
	if len(raw) > maxInput {
		return Claude{Name: expected}, fmt.Errorf("the client said more than %d bytes", maxInput)
	}
	if err := decode(raw, &c); err != nil {
		return Claude{Name: expected}, fmt.Errorf("what the client said is not its usual JSON: %w", err)
	}
	switch {
	case expected != "" && c.Name != expected:
		return Claude{Name: expected}, fmt.Errorf("the client called %.40q where %s is registered", c.Name, expected)
	case c.Name == "":
		return c, errors.New("the client does not say which hook it called")
	}
	return c, nil
}

// Judged reports whether the call is about a tool that has not run yet.
func (c Claude) Judged() bool { return c.Name == PreToolUse || c.Name == PermissionRequest }

// Call is the tool the call is about.
func (c Claude) Call() Call { return Call{Tool: c.Tool, Input: c.Input, Cwd: c.Cwd} }

// Facts say in a record whose call it was.
func (c Claude) Facts() map[string]carrel.Text {
	facts := map[string]carrel.Text{"client": ClaudeCode, "hook": carrel.Text(cut(c.Name)), "session": carrel.Text(cut(c.Session))}
	if c.Tool != "" {
		facts["tool"] = carrel.Text(cut(c.Tool))
	}
	if c.ToolUse != "" {
		facts["tool_use"] = carrel.Text(cut(c.ToolUse))
	}
	if c.Mode != "" {
		facts["mode"] = carrel.Text(cut(c.Mode))
	}
	return facts
}

// cut bounds what a client can put into a record.
func cut(s string) string { return s[:min(len(s), 200)] }

// maxMessage bounds what a client shows of a reason.
const maxMessage = 2000

type object = map[string]any

// Reply is the answer in the client's words: always one JSON object.
func (c Claude) Reply(a Answer) []byte {
	message := []rune(a.Message)
	a.Message = string(message[:min(len(message), maxMessage)])
	out, err := json.Marshal(c.reply(a))
	if err != nil { // strings always encode
		return []byte(`{"continue":false}`)
	}
	return out
}

func (c Claude) reply(a Answer) object {
	switch {
	case c.Name == "":
		// Nobody knows what was asked: stop, in every way there is.
		return object{"continue": false, "stopReason": a.Message, "hookSpecificOutput": preTool("deny", a.Message)}
	case c.Name == PreToolUse:
		return c.beforeTool(a)
	case c.Name == PermissionRequest:
		return c.atPrompt(a)
	case a.Verdict == carrel.Allow && c.Name == SessionStart && a.Message != "":
		return object{"hookSpecificOutput": object{"hookEventName": c.Name, "additionalContext": a.Message}}
	case a.Verdict == carrel.Allow || a.Verdict == carrel.Ask && c.Name == PostToolUse:
		return object{}
	case c.Name == "Elicitation" || c.Name == "ElicitationResult":
		return object{"hookSpecificOutput": object{"hookEventName": c.Name, "action": "decline"}}
	case blockable[c.Name]:
		return object{"decision": "block", "reason": a.Message}
	}
	return object{"systemMessage": a.Message}
}

func preTool(decision, reason string) object {
	return object{"hookEventName": PreToolUse, "permissionDecision": decision, "permissionDecisionReason": reason}
}

// beforeTool answers before a tool runs. What policy allows is left to the
// client's own rules: a policy that allows a program counts on walls, and there
// are none here. Where no person can be asked, what needs one is denied.
func (c Claude) beforeTool(a Answer) object {
	switch {
	case a.Verdict == carrel.Allow:
		return object{}
	case a.Verdict == carrel.Ask && (c.Mode == "bypassPermissions" || c.Mode == "dontAsk"):
		return object{"hookSpecificOutput": preTool("deny", a.Message)}
	case a.Verdict == carrel.Ask:
		return object{"hookSpecificOutput": preTool("ask", a.Message)}
	}
	return object{"hookSpecificOutput": preTool("deny", a.Message)}
}

// atPrompt answers when the client is about to ask the person. What the policy
// wants a person to decide, the person decides there.
func (c Claude) atPrompt(a Answer) object {
	switch {
	case a.Verdict == carrel.Allow, a.Verdict == carrel.Ask:
		return object{}
	}
	return object{"hookSpecificOutput": object{"hookEventName": c.Name, "decision": object{"behavior": "deny", "message": a.Message}}}
}
