package hook

import (
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
)

// GeminiCLI is the name of the client.
const GeminiCLI = "gemini-cli"

var geminiHooks = []string{sessionStart, "BeforeAgent", "BeforeTool", "AfterTool", sessionEnd}

var geminiCLI = &Client{
	Name: GeminiCLI, Title: "Gemini CLI", Agent: "gemini",
	moments: map[string]moment{"BeforeTool": beforeTool, "AfterTool": afterTool, sessionStart: begins, sessionEnd: ends, "AfterAgent": ends},
	hooks:   geminiHooks,
	tools: map[string]tool{
		"run_shell_command": Place.commandLine,
		"write_file":        Place.change, "replace": Place.change,
		"read_file": Place.look, "read_many_files": Place.lookAtMany,
		"glob": Place.search, "grep_search": Place.searchText, "search_file_content": Place.searchText, "list_directory": Place.searchText,
		"web_fetch": Place.fetchNamed,
	},
	own: set("google_web_search", "write_todos", "activate_skill", "ask_user", "enter_plan_mode", "exit_plan_mode", "update_topic", "complete_task",
		"get_internal_docs", "invoke_agent", "list_mcp_resources",
		"tracker_create_task", "tracker_update_task", "tracker_get_task", "tracker_list_tasks", "tracker_add_dependency", "tracker_visualize",
		"read_file", "read_many_files", "glob", "grep_search", "search_file_content", "list_directory", // of places that are read without asking
		"write_file", "replace"), // of the client's own notes
	dir: ".gemini",
	notes: func(below []string) bool { // plans, and outputs too long for the conversation
		return len(below) > 3 && below[0] == "tmp" && (below[2] == "plans" || below[2] == "tool-outputs") ||
			len(below) > 4 && below[0] == "tmp" && below[3] == "plans"
	},
	reply: replyGemini,
	enter: func(c Command, name string) object {
		return object{"type": "command", "name": "carrel-" + name, "command": c.line(), "timeout": hookSeconds * 1000}
	},
	off:    offForGemini,
	insist: object{"hooksConfig": object{"enabled": true}},
	probe:  object{"tool_name": "write_file", "tool_input": object{"file_path": probedFile, "content": "x"}},
}

// replyGemini says no as its hooks do: with a decision where one counts, else
// by ending the turn. What needs a person is refused and can be approved: the
// client knows "ask", and waits for ever if nobody sits at it.
func replyGemini(e Event, a Answer) object {
	refused := object{"decision": "deny", "reason": a.Message}
	switch {
	case a.Verdict == carrel.Allow && e.Name == sessionStart && a.Message != "":
		return object{"hookSpecificOutput": object{"hookEventName": e.Name, "additionalContext": a.Message}}
	case a.Verdict == carrel.Allow && e.Name != "", a.Verdict == carrel.Ask && e.Ran():
		return object{}
	}
	switch e.Name {
	case "BeforeTool", "AfterTool", "BeforeAgent", "BeforeModel":
		return refused
	case "BeforeToolSelection":
		return object{"hookSpecificOutput": object{"hookEventName": e.Name, "toolConfig": object{"mode": "NONE"}}}
	case sessionStart, sessionEnd, "Notification", "PreCompress":
		return object{"systemMessage": a.Message}
	}
	refused["continue"], refused["stopReason"] = false, a.Message
	return refused
}

// offForGemini reads what switches hooks off: all of them, or by name.
func offForGemini(settings object) string {
	config, _ := settings["hooksConfig"].(object)
	if config["enabled"] == false {
		return "hooksConfig.enabled is false"
	}
	disabled, _ := config["disabled"].([]any)
	for _, d := range disabled {
		name, _ := d.(string)
		_, ours := fromLine(name)
		if h, named := strings.CutPrefix(name, "carrel-"); ours || named && slices.Contains(geminiHooks, h) {
			return "hooksConfig.disabled names " + name
		}
	}
	return ""
}
