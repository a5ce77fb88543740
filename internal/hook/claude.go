package hook

import (
	"fmt"
	"os"

	"github.com/carrel-dev/carrel"
)

// ClaudeCode is the name of the client.
const ClaudeCode = "claude-code"

const (
	preToolUse        = "PreToolUse"
	permissionRequest = "PermissionRequest"
	postToolUse       = "PostToolUse"
	userPromptSubmit  = "UserPromptSubmit"
	sessionStart      = "SessionStart"
	sessionEnd        = "SessionEnd"
)

var claudeCode = &Client{
	Name: ClaudeCode, Title: "Claude Code", Agent: "claude",
	moments: map[string]moment{preToolUse: beforeTool, permissionRequest: atPrompt, postToolUse: afterTool, sessionStart: begins, sessionEnd: ends, "Stop": ends},
	hooks:   []string{sessionStart, userPromptSubmit, preToolUse, permissionRequest, postToolUse, sessionEnd},
	tools: map[string]tool{
		"Bash": Place.commandLine, "Monitor": Place.commandLine, "PowerShell": Place.powerShell,
		"Write": Place.change, "Edit": Place.change, "MultiEdit": Place.change, "NotebookEdit": Place.changeNotebook,
		"Read": Place.look, "NotebookRead": Place.look, "Glob": Place.search, "Grep": Place.searchText, "LS": Place.searchText,
		"WebFetch": Place.fetch,
	},
	own: set("Agent", "Task", "TaskCreate", "TaskGet", "TaskList", "TaskUpdate", "TaskOutput", "TaskStop",
		"TodoWrite", "TodoRead", "ExitPlanMode", "EnterPlanMode", "AskUserQuestion", "Skill", "SlashCommand",
		"BashOutput", "KillShell", "KillBash", "ToolSearch", "WebSearch", "LSP", "StructuredOutput",
		"Read", "NotebookRead", "Glob", "Grep", "LS", // of places that are read without asking
		"Write", "Edit", "MultiEdit", // of the client's own notes
		"EnterWorktree", "ExitWorktree", "SendMessage", "ListMcpResourcesTool"),
	dir: ".claude",
	notes: func(below []string) bool { // its plans and its memory
		return len(below) > 1 && below[0] == "plans" || len(below) > 3 && below[0] == "projects" && below[2] == "memory"
	},
	scratch: func(below []string) bool { // claude-UID/PROJECT/SESSION/…: outputs of background tasks, and a scratchpad
		return len(below) > 4 && below[0] == fmt.Sprintf("claude-%d", os.Getuid()) && (below[3] == "tasks" || below[3] == "scratchpad")
	},
	reply: replyClaude,
	enter: func(c Command, name string) object {
		return object{"type": "command", "command": c.Program, "args": c.words(), "timeout": hookSeconds}
	},
	off: func(settings object) string {
		if settings["disableAllHooks"] == true {
			return "disableAllHooks is set"
		}
		return ""
	},
	probe: object{"tool_name": "Write", "tool_input": object{"file_path": probedFile, "content": "x"}},
}

// blockable are the calls that can be stopped by a decision at the top level.
var blockable = set(userPromptSubmit, "UserPromptExpansion", "PostToolUseFailure", "PostToolBatch", "ConfigChange", "PreCompact", postToolUse)

func replyClaude(e Event, a Answer) object {
	switch {
	case e.Name == "":
		// Nobody knows what was asked: stop, in every way there is.
		return object{"continue": false, "stopReason": a.Message, "hookSpecificOutput": preTool("deny", a.Message)}
	case e.Name == preToolUse:
		return beforeClaudesTool(e, a)
	case e.Name == permissionRequest:
		return atClaudesPrompt(a)
	case a.Verdict == carrel.Allow && e.Name == sessionStart && a.Message != "":
		return object{"hookSpecificOutput": object{"hookEventName": e.Name, "additionalContext": a.Message}}
	case a.Verdict == carrel.Allow || a.Verdict == carrel.Ask && e.Name == postToolUse:
		return object{}
	case e.Name == "Elicitation" || e.Name == "ElicitationResult":
		return object{"hookSpecificOutput": object{"hookEventName": e.Name, "action": "decline"}}
	case blockable[e.Name]:
		return object{"decision": "block", "reason": a.Message}
	}
	return object{"systemMessage": a.Message}
}

func preTool(decision, reason string) object {
	return object{"hookEventName": preToolUse, "permissionDecision": decision, "permissionDecisionReason": reason}
}

// beforeClaudesTool answers before a tool runs. What policy allows is left to
// the client's own rules: a policy that allows a program counts on walls, and
// there are none here. Where no person can be asked, what needs one is denied.
func beforeClaudesTool(e Event, a Answer) object {
	switch {
	case a.Verdict == carrel.Allow:
		return object{}
	case a.Verdict == carrel.Ask && (e.Mode == "bypassPermissions" || e.Mode == "dontAsk"):
		return object{"hookSpecificOutput": preTool("deny", a.Message)}
	case a.Verdict == carrel.Ask:
		return object{"hookSpecificOutput": preTool("ask", a.Message)}
	}
	return object{"hookSpecificOutput": preTool("deny", a.Message)}
}

// atClaudesPrompt answers when the client is about to ask the person. What the
// policy wants a person to decide, the person decides there.
func atClaudesPrompt(a Answer) object {
	switch {
	case a.Verdict == carrel.Allow, a.Verdict == carrel.Ask:
		return object{}
	}
	return object{"hookSpecificOutput": object{"hookEventName": permissionRequest, "decision": object{"behavior": "deny", "message": a.Message}}}
}
