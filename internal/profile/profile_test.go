package profile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestKnownProfilesParse(t *testing.T) {
	entries, err := files.ReadDir("known")
	if err != nil || len(entries) != len(order) {
		t.Fatalf("%d files, %d names, %v", len(entries), len(order), err)
	}
	matches := map[string]string{}
	for _, name := range Names() {
		p, ok := Get(name)
		if !ok || p.Name != name || p.Title == "" {
			t.Errorf("%s: %+v", name, p)
		}
		for _, m := range p.Match {
			matches[m] = name
		}
		for _, v := range p.Env {
			if v.Why == "" {
				t.Errorf("%s: say why %s is set", name, v.Name)
			}
		}
		for _, d := range p.Egress {
			if d.Why == "" || d.Host == "" {
				t.Errorf("%s: say why %s is needed", name, d.Host)
			}
		}
		for _, line := range p.Describe() {
			if line == "" || strings.Contains(line, "\n") {
				t.Errorf("%s: line %q", name, line)
			}
		}
	}
	if len(matches) != len(commands) {
		t.Errorf("commands says %v, the profiles %v", commands, matches)
	}
	for command, name := range matches {
		if p, ok := Match("/usr/bin/" + command); !ok || p.Name != name {
			t.Errorf("%s matches %q", command, p.Name)
		}
	}
	if p, ok := Match("bash"); ok {
		t.Errorf("bash matches %q", p.Name)
	}
	if d := Default(); d.Name != "default" || d.Model != nil || len(d.Egress)+len(d.Env)+len(d.Home.Fill) != 0 || d.Home.Keep {
		t.Errorf("the profile of any command gives something: %+v", d)
	}
}

// A key must never be set to anything real, and no profile may point the agent
// anywhere but at the door.
func TestTheModelDoorIsTheOnlyEndpointInside(t *testing.T) {
	for _, name := range Names() {
		p, _ := Get(name)
		if p.Model == nil {
			continue
		}
		door := strings.Join(p.Model.Args, " ")
		for _, v := range p.Model.Env {
			if strings.HasSuffix(v.Name, "KEY") || strings.HasSuffix(v.Name, "TOKEN") {
				if v.Value != "placeholder" {
					t.Errorf("%s: %s=%s", name, v.Name, v.Value)
				}
			} else {
				door += v.Value
			}
		}
		if !strings.Contains(door, "http://model.desk") || strings.Contains(door, "https://") {
			t.Errorf("%s: the agent is sent to %q", name, door)
		}
		for _, d := range p.Destinations(true) {
			t.Errorf("%s needs %s although the door is open", name, d.Host)
		}
	}
}

func TestBadProfilesAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"misspelt key":    "name: a\nenviron: []\n",
		"bad name":        "name: A B\n",
		"path as command": "name: a\nmatch: [/bin/x]\n",
		"escaping fill":   "name: a\nhome: {fill: [{path: ../x}]}\n",
		"absolute fill":   "name: a\nhome: {fill: [{path: /x}]}\n",
		"text and keep":   "name: a\nhome: {fill: [{path: x, text: y, keep: [z]}]}\n",
		"relative target": "name: a\nbriefings: [x]\n",
		"bad variable":    "name: a\nenv: [{name: 'A B', value: x}]\n",
		"line in value":   "name: a\nenv: [{name: A, value: \"x\\ny\"}]\n",
		"no header":       "name: a\nmodel: {endpoint: 'https://a.test'}\n",
		"password":        "name: a\nmodel: {endpoint: 'https://u:p@a.test', header: x}\n",
		"two key places":  "name: a\nmodel: {endpoint: 'https://a.test', header: x, keys: [{env: A, file: b}]}\n",
	} {
		if p, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestProfilesOfTheUser(t *testing.T) {
	node := func(text string) *yaml.Node {
		var n yaml.Node
		if err := yaml.Unmarshal([]byte(text), &n); err != nil {
			t.Fatal(err)
		}
		return n.Content[0]
	}
	p, err := ParseNode("work-claude", node("extends: claude\nmodel: {endpoint: 'https://gateway.corp.test'}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "work-claude" || p.Model.Endpoint != "https://gateway.corp.test" || p.Model.Header != "X-Api-Key" || !p.Home.Keep || p.Match != nil {
		t.Errorf("extended: %+v, %+v", p, p.Model)
	}
	if known, _ := Get("claude"); known.Model.Endpoint != "https://api.anthropic.com" || known.Name != "claude" {
		t.Errorf("extending changed the known profile: %+v", known.Model)
	}
	if p, err := ParseNode("mine", node("env: [{name: A, value: b}]\n")); err != nil || p.Name != "mine" || p.Title != "mine" {
		t.Errorf("own: %+v, %v", p, err)
	}
	for _, text := range []string{"extends: nobody\n", "nonsense: 1\n", "name: other\n"} {
		if _, err := ParseNode("mine", node(text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

// secretHome has a login in every place an agent keeps one.
func secretHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	for name, text := range map[string]string{
		".claude.json": `{"theme":"light","oauthAccount":{"canary":1},"primaryApiKey":"canary","mcpServers":{"x":{"env":{"K":"canary"}}},
			"projects":{"/p":{"history":["canary"]}},"customApiKeyResponses":{"approved":["canary"]}}`,
		".claude/settings.json": `{"model":"m","apiKeyHelper":"canary","env":{"T":"canary"},"hooks":{"x":"canary"},
			"permissions":{"allow":["Bash(ls)"],"additionalDirectories":["/canary"]},"statusLine":{"command":"canary"}}`,
		".claude/.credentials.json": "canary", ".codex/auth.json": `{"OPENAI_API_KEY":"canary"}`, ".codex/config.toml": "canary",
		".gemini/settings.json":    `{"ui":{"theme":"x"},"mcpServers":{"a":"canary"},"security":{"auth":{"selectedType":"canary"}}}`,
		".gemini/oauth_creds.json": "canary",
	} {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

func TestFillingAHomeCopiesNoCredential(t *testing.T) {
	host := secretHome(t)
	for _, name := range Names() {
		p, _ := Get(name)
		desk := t.TempDir()
		written, err := p.FillHome(host, desk, "/home/u/my.project")
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range written {
			if fi, err := os.Lstat(w); err != nil || fi.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %s: %v, %v", name, w, fi, err)
			} else if fi.Mode().IsRegular() {
				if content, _ := os.ReadFile(w); strings.Contains(string(content), "canary") {
					t.Errorf("%s: %s holds a secret: %s", name, w, content)
				}
			}
		}
		if len(p.Home.Fill) > 0 && len(written) < len(p.Home.Fill) {
			t.Errorf("%s: wrote only %v", name, written)
		}
	}
}

func TestFillingAHomeKeepsWhatThePersonLikes(t *testing.T) {
	p, _ := Get("claude")
	desk := t.TempDir()
	written, err := p.FillHome(secretHome(t), desk, "/home/u/my.project")
	if err != nil || !slices.Contains(written, filepath.Join(desk, ".claude")) {
		t.Fatal(written, err)
	}
	var state struct {
		Theme    string
		Onboard  bool `json:"hasCompletedOnboarding"`
		Projects map[string]struct{ HasTrustDialogAccepted bool }
	}
	raw, _ := os.ReadFile(filepath.Join(desk, ".claude.json"))
	if err := json.Unmarshal(raw, &state); err != nil || state.Theme != "light" || !state.Onboard || !state.Projects["/home/u/my.project"].HasTrustDialogAccepted {
		t.Errorf("%s: %v", raw, err)
	}
	var settings struct {
		Model       string
		Permissions map[string][]string
	}
	raw, _ = os.ReadFile(filepath.Join(desk, ".claude/settings.json"))
	if err := json.Unmarshal(raw, &settings); err != nil || settings.Model != "m" || len(settings.Permissions) != 1 {
		t.Errorf("%s: %v", raw, err)
	}
	// What the agent made of it stays.
	if err := os.WriteFile(filepath.Join(desk, ".claude.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if written, err = p.FillHome(secretHome(t), desk, "/x"); err != nil || len(written) != 0 {
		t.Errorf("second time: %v, %v", written, err)
	}
}

func TestAnOddWorkspaceBreaksNoSettings(t *testing.T) {
	p, _ := Get("codex")
	for ws, want := range map[string]string{"/home/u/x": "\n[projects.\"/home/u/x\"]\n", "/a\"]\nsandbox_mode=\"x\"": "\n[projects.\"\"]\n"} {
		desk := t.TempDir()
		if _, err := p.FillHome(t.TempDir(), desk, ws); err != nil {
			t.Fatal(err)
		}
		if raw, err := os.ReadFile(filepath.Join(desk, ".codex/config.toml")); err != nil || !strings.Contains(string(raw), want) {
			t.Errorf("%q: %s, %v", ws, raw, err)
		}
	}
}

// The agent owns its home: links it left there must lead nowhere.
func TestFillingAHomeFollowsNoLinkOutOfIt(t *testing.T) {
	outside := t.TempDir()
	for _, plant := range []func(desk string) error{
		func(desk string) error { return os.Symlink(outside, filepath.Join(desk, ".claude")) },
		func(desk string) error {
			return os.Symlink(filepath.Join(outside, "x"), filepath.Join(desk, ".claude.json"))
		},
		func(desk string) error { return os.WriteFile(filepath.Join(desk, ".claude"), nil, 0o600) },
	} {
		desk := t.TempDir()
		if err := plant(desk); err != nil {
			t.Fatal(err)
		}
		p, _ := Get("claude")
		if _, err := p.FillHome(secretHome(t), desk, "/ws"); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(outside); len(left) != 0 {
			t.Errorf("wrote %v outside", left)
		}
	}
}

func TestFillingFromAHomeWithBrokenSettings(t *testing.T) {
	host, desk := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(host, ".claude.json"), []byte("{broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, _ := Get("claude")
	if written, err := p.FillHome(host, desk, "/ws"); err != nil || len(written) == 0 {
		t.Error(written, err)
	}
}
