package hook

import "github.com/carrel-dev/carrel"

// Codex is the name of the client.
const Codex = "codex"

// codex calls its hooks as Claude Code does, with fewer ways to answer.
var codex = &Client{
	Name: Codex, Title: "Codex CLI", Agent: "codex",
	moments: map[string]moment{preToolUse: beforeTool, permissionRequest: atPrompt, postToolUse: afterTool, sessionStart: begins, sessionEnd: ends, "Stop": ends},
	hooks:   []string{sessionStart, userPromptSubmit, preToolUse, permissionRequest, postToolUse},
	tools:   map[string]tool{"Bash": Place.commandLine, "apply_patch": Place.patch, "view_image": Place.lookAtPath},
	own:     set("update_plan", "request_user_input", "write_stdin", "get_goal", "create_goal", "update_goal", "view_image"),
	reply:   replyCodex,
	enter: func(c Command, name string) object {
		return object{"type": "command", "command": c.line(), "timeout": hookSeconds}
	},
	off:   func(object) string { return "" },
	probe: object{"tool_name": "Bash", "tool_input": object{"command": "echo x > " + probedFile}},
}

// replyCodex answers with no more than the client understands: it takes an
// answer with another member, or with "ask", for none.
func replyCodex(e Event, a Answer) object {
	switch {
	case e.Name == preToolUse && a.Verdict == carrel.Ask:
		return object{"hookSpecificOutput": preTool("deny", a.Message)}
	case a.Verdict == carrel.Allow && e.Name == sessionStart && a.Message != "", e.Name == "", e.Name == preToolUse, e.Name == permissionRequest:
		return replyClaude(e, a)
	case a.Verdict == carrel.Allow || a.Verdict == carrel.Ask && e.Ran():
		return object{}
	case e.Name == userPromptSubmit, e.Ran():
		return object{"decision": "block", "reason": a.Message}
	}
	return object{"systemMessage": a.Message}
}
