package hook

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
)

// denies reads whether an answer stops what was asked, as its client would.
func denies(t *testing.T, out []byte) bool {
	t.Helper()
	var r struct {
		Continue *bool  `json:"continue"`
		Decision string `json:"decision"`
		Specific struct {
			Decision json.RawMessage `json:"decision"`
			Before   string          `json:"permissionDecision"`
		} `json:"hookSpecificOutput"`
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return r.Continue != nil && !*r.Continue || r.Decision == "deny" || r.Decision == "block" || r.Specific.Before == "deny" ||
		strings.Contains(string(r.Specific.Decision), `"behavior":"deny"`)
}

// Every client: what is refused is refused before a tool, at a prompt and
// where nobody knows what was asked; what is allowed is left to the client.
func TestEveryClientIsToldNo(t *testing.T) {
	for _, c := range Clients() {
		for _, name := range append(c.Registered(), "") {
			e := c.Event(name)
			if e.Begins() || e.Ends() {
				continue
			}
			if !denies(t, e.Reply(Fault(errors.New("x")))) || !denies(t, e.Reply(Answer{Message: "m"})) {
				t.Errorf("%s %q: a fault is no denial: %s", c.Name, name, e.Reply(Fault(errors.New("x"))))
			}
			if name != "" && string(e.Reply(Answer{Verdict: carrel.Allow})) != "{}" {
				t.Errorf("%s %s: %s for what is allowed", c.Name, name, e.Reply(Answer{Verdict: carrel.Allow}))
			}
		}
		for _, raw := range []string{"", "garbage", "[]", "{}", "null", `{"hook_event_name":7}`, `{"hook_event_name":"Other"}`, `{"hook_event_name":"` + c.BeforeTool() + `","tool_name":"a","Tool_Name":"b"}`} {
			e, err := c.Read([]byte(raw), c.BeforeTool())
			if err == nil || !denies(t, e.Reply(Fault(err))) {
				t.Errorf("%s: %q is accepted", c.Name, raw)
			}
		}
		begun := c.Event(sessionStart).Reply(Answer{carrel.Allow, "briefing"})
		if !strings.Contains(string(begun), `"additionalContext":"briefing"`) {
			t.Errorf("%s: %s", c.Name, begun)
		}
	}
}

// Only Claude Code can be made to ask, and only where somebody sits at it.
func TestWhatNeedsAPersonIsNeverLetThrough(t *testing.T) {
	ask := Answer{carrel.Ask, "m"}
	for _, c := range Clients() {
		out := c.Event(c.BeforeTool()).Reply(ask)
		if !denies(t, out) && c.Name != ClaudeCode || !strings.Contains(string(out), `"m"`) {
			t.Errorf("%s: %s", c.Name, out)
		}
	}
}

func TestToolsOfOtherClientsBecomeActions(t *testing.T) {
	for _, c := range []struct {
		client            *Client
		tool, input, want string
	}{
		{geminiCLI, "run_shell_command", `{"command":"cat a > b","dir_path":"sub"}`, "exec cat a;read /workspace/sub/a;write /workspace/sub/b"},
		{geminiCLI, "write_file", `{"file_path":".git/hooks/x","content":"y"}`, "write /workspace/.git/hooks/x"},
		{geminiCLI, "replace", `{"file_path":"a","old_string":"x","new_string":"y"}`, "write /workspace/a"},
		{geminiCLI, "read_file", `{"file_path":"HOME/.ssh/id"}`, "read HOME/.ssh/id"},
		{geminiCLI, "read_many_files", `{"include":["a/*.go","/etc/**"]}`, "read /workspace/a;read ROOT/etc"},
		{geminiCLI, "glob", `{"pattern":"../*"}`, "read HOME"},
		{geminiCLI, "grep_search", `{"pattern":"x","dir_path":"/etc"}`, "read ROOT/etc"},
		{geminiCLI, "list_directory", `{"dir_path":"."}`, "tool list_directory"},
		{geminiCLI, "web_fetch", `{"prompt":"read https://a.test/x, and http://b.test/"}`, "connect a.test:443;request a.test:443/x;connect b.test:443;request b.test:443/"},
		{geminiCLI, "mcp_db_drop", `{}`, "tool mcp_db_drop"},
		{geminiCLI, "read_file", `{"file_path":"HOME/.gemini/tmp/p/tool-outputs/s/1.txt"}`, "tool read_file"},
		{geminiCLI, "write_file", `{"file_path":"HOME/.gemini/settings.json","content":"x"}`, "write HOME/.gemini/settings.json"},
		{codex, "Bash", `{"command":"ls"}`, "exec ls"},
		{codex, "Bash", `{"command":"apply_patch <<'EOF'\n*** Begin Patch\n*** Add File: .git/hooks/x\n+y\n*** End Patch\nEOF"}`, "exec apply_patch;write /workspace/.git/hooks/x"},
		{codex, "apply_patch", `{"command":"*** Begin Patch\n*** Update File: a\n*** Move to: ../b\n*** Delete File: c\n*** End Patch"}`, "write /workspace/a;write HOME/b;delete /workspace/c"},
		{codex, "view_image", `{"path":"/etc/x.png"}`, "read ROOT/etc/x.png"},
		{codex, "mcp__db__drop", `{}`, "tool mcp__db__drop"},
	} {
		p := testPlace(t)
		p.Client = c.client
		want := seenPlaces(p).Replace(c.want)
		actions, err := p.Actions(Call{Tool: c.tool, Input: json.RawMessage(inputPlaces(p).Replace(c.input)), Cwd: p.Workspace})
		if err != nil {
			t.Errorf("%s %s: %v", c.tool, c.input, err)
			continue
		}
		var got []string
		for _, a := range actions {
			got = append(got, shown(a))
			if a.Agent != c.client.Agent {
				t.Errorf("%s: agent %q", c.tool, a.Agent)
			}
		}
		if s := strings.Join(got, ";"); s != want {
			t.Errorf("%s %s: %s, want %s", c.tool, c.input, s, want)
		}
	}
}

func TestCallsOfOtherClientsThatCannotBeReadAreErrors(t *testing.T) {
	for _, c := range []struct {
		client      *Client
		tool, input string
	}{
		{geminiCLI, "run_shell_command", `{}`}, {geminiCLI, "write_file", `{"content":"x"}`}, {geminiCLI, "web_fetch", `{}`}, {geminiCLI, "web_fetch", `{"prompt":"example.com"}`},
		{geminiCLI, "web_fetch", `{"prompt":"file:///etc/passwd"}`}, {geminiCLI, "read_many_files", `{}`}, {geminiCLI, "read_file", `{}`},
		{codex, "apply_patch", `{"command":"nothing"}`}, {codex, "apply_patch", `{}`}, {codex, "view_image", `{}`}, {codex, "Bash", `{"command":["ls"]}`},
	} {
		p := testPlace(t)
		p.Client = c.client
		if got, err := p.Actions(Call{Tool: c.tool, Input: json.RawMessage(c.input), Cwd: p.Workspace}); err == nil {
			t.Errorf("%s %s: %v and no error", c.tool, c.input, got)
		}
	}
}

// The tools that one client has for itself are another's strangers.
func TestOwnToolsAreOneClientsOnly(t *testing.T) {
	for _, c := range []struct {
		agent, name string
		want        carrel.Verdict
	}{
		{"gemini", "write_todos", carrel.Allow}, {"claude", "write_todos", carrel.Ask}, {"gemini", "TodoWrite", carrel.Ask}, {"codex", "update_plan", carrel.Allow}, {"codex", "New", carrel.Ask},
	} {
		if d := (Rules{}).Decide(carrel.Action{Agent: c.agent, Operation: carrel.OpTool, Subject: c.name}); d.Verdict != c.want {
			t.Errorf("%s %s: %s, want %s", c.agent, c.name, d.Verdict, c.want)
		}
	}
}

// Every client: registering keeps what is there, twice is once, and out again
// leaves what was there.
func TestRegisteringIsKindToSettings(t *testing.T) {
	const there = `{"ui":{"theme":"x"},"hooks":{"BeforeTool":[{"matcher":"w","hooks":[{"type":"command","command":"mine"}]}],"PreToolUse":[{"hooks":[{"type":"command","command":"carrel-like hook x"}]}]}}`
	for _, c := range Clients() {
		for _, program := range []string{"carrel", "/a b/it's/carrel"} {
			once, err := c.MergeManaged([]byte(there), program)
			if err != nil {
				t.Fatal(err)
			}
			twice, err := c.MergeManaged(once, program)
			if err != nil || string(once) != string(twice) {
				t.Errorf("%s: twice is not once: %v\n%s", c.Name, err, twice)
			}
			in, err := c.ReadInstalled(once)
			if err != nil || in.Off != "" || len(in.Commands) != len(c.Registered()) {
				t.Fatalf("%s: %+v, %v", c.Name, in, err)
			}
			for _, name := range c.Registered() {
				if command := in.Commands[name]; command.Program != program || !c.Registers(command, name) {
					t.Errorf("%s %s: %+v", c.Name, name, command)
				}
			}
			out, err := c.MergeManaged(once, "")
			want, _ := parseSettings([]byte(there))
			text, _ := indented(want)
			if err != nil || string(out) != string(text) {
				t.Errorf("%s: %v\n%s, want\n%s", c.Name, err, out, text)
			}
		}
	}
}

func TestGeminiHooksThatAreSwitchedOff(t *testing.T) {
	for settings, off := range map[string]bool{
		`{}`: false, `{"hooksConfig":{"enabled":true,"disabled":["other"]}}`: false,
		`{"hooksConfig":{"enabled":false}}`: true, `{"hooksConfig":{"disabled":["carrel-BeforeTool"]}}`: true,
	} {
		if in, err := geminiCLI.ReadInstalled([]byte(settings)); err != nil || (in.Off != "") != off {
			t.Errorf("%s: %q, %v", settings, in.Off, err)
		}
	}
}

// What doctor asks is what each client would, and every policy denies it.
func TestProbesAskAboutAGitHook(t *testing.T) {
	for _, c := range Clients() {
		if runtime.GOOS == "windows" && c.Name != ClaudeCode {
			continue // cannot be registered there
		}
		p := testPlace(t)
		p.Client = c
		if err := os.MkdirAll(filepath.Join(p.Workspace, ".git"), 0o755); err != nil {
			t.Fatal(err)
		}
		raw, err := c.question(p.Workspace)
		if err != nil {
			t.Fatal(err)
		}
		e, err := c.Read(raw, c.BeforeTool())
		if err != nil || !e.Judged() {
			t.Fatalf("%s: %v", c.Name, err)
		}
		actions, err := p.Actions(e.Call())
		if err != nil || actions[len(actions)-1].Path != "/workspace/.git/hooks/carrel-doctor" {
			t.Errorf("%s: %+v, %v", c.Name, actions, err)
		}
		if err := deniedWell(e.Reply(Answer{carrel.Deny, "carrel: no"})); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
		if deniedWell(e.Reply(Answer{Verdict: carrel.Allow})) == nil || deniedWell(e.Reply(Fault(errors.New("x")))) == nil {
			t.Errorf("%s: a hook that allows, or is broken, is called live", c.Name)
		}
	}
}

// That the real client reckons so is tried end to end.
func TestCodexTrustIsOfExactlyOneHook(t *testing.T) {
	entry := object{"type": "command", "command": "/usr/bin/check PreToolUse", "timeout": 15}
	if got := trustHash("pre_tool_use", "*", entry); got != "sha256:08cccfdfe8adddd32e2e48e314aa3fde6a357bc32b08141b56549de12943c07e" {
		t.Error(got)
	}
	settings, err := codex.Merge([]byte(`{"hooks":{"PreToolUse":[{"matcher":"x","hooks":[{"type":"command","command":"mine && it > x"}]}]}}`), "/a/carrel")
	if err != nil {
		t.Fatal(err)
	}
	const file = "/h/.codex/hooks.json"
	trust, err := CodexTrust(settings, file)
	if err != nil {
		t.Fatal(err)
	}
	in, err := codex.ReadInstalled(settings)
	if err != nil {
		t.Fatal(err)
	}
	other, err := codex.Merge(nil, "/b/carrel")
	if err != nil {
		t.Fatal(err)
	}
	changed, err := codex.ReadInstalled(other)
	if err != nil {
		t.Fatal(err)
	}
	key := "[hooks.state.\"" + file + ":pre_tool_use:1:0\"]\n"
	for config, trusted := range map[string]bool{
		"": false, "model = \"x\"\n" + trust: true, strings.Replace(trust, key, key+"enabled = false\n", 1): false,
		strings.Replace(trust, "sha256:", "sha256:0", -1): false,
	} {
		if why := in.Untrusted(file, config); (why == "") != trusted {
			t.Errorf("%q: %q", config, why)
		}
		if changed.Untrusted(file, config) == "" {
			t.Error("another hook is trusted, too")
		}
	}
}
