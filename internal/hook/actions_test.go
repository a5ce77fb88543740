package hook

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel"
)

func testPlace(t *testing.T) Place {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"home/.claude", "home/project/sub", "outside"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "outside"), filepath.Join(dir, "home/project/away")); err != nil {
		t.Fatal(err)
	}
	return Place{Workspace: filepath.Join(dir, "home/project"), Home: filepath.Join(dir, "home"), Client: claudeCode}
}

// hostWorkspace is a directory of the host that is called as a desk's.
func hostWorkspace() string {
	if runtime.GOOS == "windows" {
		return "ROOT/workspace"
	}
	return "/host/workspace"
}

// inputPlaces and seenPlaces are what a test's HOME and the like stand for: as
// a client writes them, and as a policy sees them. ROOT is the drive's.
func inputPlaces(p Place) *strings.Replacer {
	return places(p, filepath.ToSlash)
}

func seenPlaces(p Place) *strings.Replacer { return places(p, slashed) }

func places(p Place, as func(string) string) *strings.Replacer {
	return strings.NewReplacer("PROJECT", as(p.Workspace), "HOME", as(p.Home), "OUT", as(filepath.Dir(p.Home)), "ROOT", as(filepath.VolumeName(p.Home)))
}

// shown is an action in one word.
func shown(a carrel.Action) string {
	switch a.Operation {
	case carrel.OpExec:
		words := make([]string, len(a.Argv))
		for i, w := range a.Argv {
			words[i] = string(w)
		}
		return "exec " + strings.Join(words, " ")
	case carrel.OpTool:
		return "tool " + a.Subject
	case carrel.OpConnect, carrel.OpRequest:
		return fmt.Sprintf("%s %s:%d%s", a.Operation, a.Host, a.Port, a.URL)
	}
	return string(a.Operation) + " " + a.Path
}

func TestToolsBecomeActions(t *testing.T) {
	p := testPlace(t)
	for _, c := range []struct{ tool, input, want string }{
		{"Bash", `{"command":"ls | wc -l > n"}`, "exec ls;exec wc -l;write /workspace/sub/n"},
		{"Bash", `{"command":"cat ../a ~/.ssh/id"}`, "exec cat ../a ~/.ssh/id;read /workspace/a;read HOME/.ssh/id"},
		{"Bash", `{"command":"rm -r ../../x"}`, "exec rm -r ../../x;delete HOME/x"},
		{"PowerShell", `{"command":"Get-Item x"}`, "exec powershell -Command Get-Item x"},
		{"Write", `{"file_path":"PROJECT/a/b.go","content":"x"}`, "write /workspace/a/b.go"},
		{"Write", `{"file_path":"PROJECT/away/x","content":"x"}`, "write OUT/outside/x"},
		{"Edit", `{"file_path":"PROJECT/../x","new_string":"y"}`, "write HOME/x"},
		{"Write", `{"file_path":"/workspace/x","content":"x"}`, "write " + hostWorkspace() + "/x"},
		{"NotebookEdit", `{"notebook_path":"PROJECT/n.ipynb","new_source":"y"}`, "write /workspace/n.ipynb"},
		{"Read", `{"file_path":"HOME/.ssh/id_rsa"}`, "read HOME/.ssh/id_rsa"},
		{"Read", `{"file_path":"/usr/include/stdio.h"}`, "tool Read"},
		{"Grep", `{"pattern":"x"}`, "read /workspace/sub"},
		{"Grep", `{"pattern":"x","path":"/etc"}`, "read ROOT/etc"},
		{"Glob", `{"pattern":"/etc/*"}`, "read ROOT/etc"},
		{"Glob", `{"pattern":"{/etc,x}/sh*"}`, "read ROOT/"},
		{"WebFetch", `{"url":"https://OK.test./a?b"}`, "connect ok.test:443;request ok.test:443/a?b"},
		{"WebFetch", `{"url":"http://ok.test:8080/"}`, "connect ok.test:8080;request ok.test:8080/"},
		{"mcp__db__query", `{"sql":"drop"}`, "tool mcp__db__query"},
		{"Write", `{"file_path":"HOME/.claude/plans/p.md","content":"x"}`, "tool Write"},
		{"Write", `{"file_path":"HOME/.claude/settings.json","content":"x"}`, "write HOME/.claude/settings.json"},
	} {
		if runtime.GOOS == "windows" && strings.Contains(c.input, `"/usr/`) {
			continue // no such place there
		}
		want := seenPlaces(p).Replace(c.want)
		actions, err := p.Actions(Call{Tool: c.tool, Input: json.RawMessage(inputPlaces(p).Replace(c.input)), Cwd: filepath.Join(p.Workspace, "sub")})
		if err != nil {
			t.Errorf("%s %s: %v", c.tool, c.input, err)
			continue
		}
		var got []string
		for _, a := range actions {
			got = append(got, shown(a))
			if a.Agent != "claude" {
				t.Errorf("%s: agent %q", c.tool, a.Agent)
			}
		}
		if s := strings.Join(got, ";"); s != want {
			t.Errorf("%s %s: %s, want %s", c.tool, c.input, s, want)
		}
	}
}

// A tool of a server may call its members as it likes.
func TestToolsOfServersAreJudgedByName(t *testing.T) {
	got, err := testPlace(t).Actions(Call{Tool: "mcp__x__y", Input: json.RawMessage(`{"path":7,"command":["a"],"Path":"b"}`), Cwd: "/"})
	if err != nil || len(got) != 1 || got[0].Operation != carrel.OpTool || got[0].Subject != "mcp__x__y" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCallsThatCannotBeReadAreErrors(t *testing.T) {
	for _, c := range []struct{ tool, input string }{
		{"", `{}`}, {"Bash", `{}`}, {"Bash", `{"command":7}`}, {"Bash", `{"command":"echo 'x"}`}, {"Bash", `[]`}, {"Write", `{"content":"x"}`},
		{"Write", `{"file_path":""}`}, {"Read", `{}`}, {"WebFetch", `{}`}, {"WebFetch", `{"url":"file:///etc/passwd"}`},
		{"WebFetch", `{"url":"https://user@evil.test/"}`}, {"WebFetch", `{"url":"https://ok.test:x/"}`}, {"PowerShell", `{}`},
		// Which of two the client takes, nobody knows.
		{"Bash", `{"command":"git push","Command":"ls"}`}, {"Bash", `{"command":"git push","command":"ls"}`}, {"Bash", "{\"url\":\"\",\"comma\u017fd\":\"\",\"COMMA\u017fD\":\"ls\"}"},
		{"Write", `{"file_path":".git/config","FILE_PATH":"ok"}`},
	} {
		if got, err := testPlace(t).Actions(Call{Tool: c.tool, Input: json.RawMessage(c.input), Cwd: "/"}); err == nil {
			t.Errorf("%s %s: %v and no error", c.tool, c.input, got)
		}
	}
}

func TestContentIsPartOfTheAction(t *testing.T) {
	p := testPlace(t)
	p.Labels = func(path string, content []byte) []carrel.Label {
		return []carrel.Label{{Name: path + ":" + string(content)}}
	}
	digests := map[carrel.Digest]bool{}
	for _, content := range []string{"a", "b"} {
		actions, err := p.Actions(Call{Tool: "Write", Cwd: p.Workspace, Input: json.RawMessage(`{"file_path":"x","content":"` + content + `"}`)})
		if err != nil {
			t.Fatal(err)
		}
		if got := actions[0].File.Labels[0].Name; got != "x:"+content {
			t.Errorf("labels see %q", got)
		}
		d, err := actions[0].Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests[d] = true
	}
	if len(digests) != 2 {
		t.Error("an approval of one content is one of another")
	}
}

func TestRules(t *testing.T) {
	r := Rules{Tools: []string{"mcp__db__*", "mcp__x__y"}, Hide: []string{".env"}}
	exec := func(words ...string) carrel.Action {
		a := carrel.Action{Operation: carrel.OpExec}
		for _, w := range words {
			a.Argv = append(a.Argv, carrel.Text(w))
		}
		return a
	}
	tool := func(name string) carrel.Action { return carrel.Action{Operation: carrel.OpTool, Subject: name} }
	unclear := exec("$x")
	unclear.Reason = "why"
	for _, c := range []struct {
		a    carrel.Action
		want carrel.Verdict
	}{
		{exec("ls"), carrel.Allow}, {unclear, carrel.Ask},
		{tool("mcp__db__query"), carrel.Allow}, {tool("mcp__x__y"), carrel.Allow}, {tool("mcp__x__yz"), carrel.Ask}, {tool("TodoWrite"), carrel.Allow}, {tool("New"), carrel.Ask},
		{carrel.Action{Operation: carrel.OpRead, Path: "/workspace/.env"}, carrel.Deny}, {carrel.Action{Operation: carrel.OpRead, Path: "/workspace/.envrc"}, carrel.Allow},
	} {
		if d := r.Decide(c.a); d.Verdict != c.want {
			t.Errorf("%s: %s, want %s", shown(c.a), d.Verdict, c.want)
		}
	}
	for _, name := range []string{"mcp__a__b", "Anything"} {
		if d := (Rules{}).Decide(tool(name)); d.Verdict == carrel.Allow {
			t.Errorf("without a grant %s is allowed", name)
		}
	}
	if !slices.Contains(Operations, carrel.OpTool) {
		t.Error("tools are not governed")
	}
}
