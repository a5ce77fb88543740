package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// hookSeconds is how long a client waits: longer than Carrel needs to say that
// it failed.
const hookSeconds = 15

// Hooks is the "hooks" member of a client's settings, with program as carrel.
func (c *Client) Hooks(program string) map[string]any {
	out := object{}
	for _, name := range c.hooks {
		out[name] = []any{object{"matcher": "*", "hooks": []any{c.enter(c.command(program, name), name)}}}
	}
	return out
}

// Merge puts the hooks into settings (the text of a client's file; empty for
// none) in place of earlier ones of Carrel's, and leaves everything else as it
// is. With program "" it only takes them out.
func (c *Client) Merge(settings []byte, program string) ([]byte, error) {
	doc, err := parseSettings(settings)
	if err != nil {
		return nil, err
	}
	hooks, ok := doc["hooks"].(object)
	if doc["hooks"] != nil && !ok {
		return nil, errors.New(`the member "hooks" is not an object`)
	}
	kept := object{}
	for name, groups := range hooks {
		list, ok := groups.([]any)
		if !ok {
			return nil, fmt.Errorf("the hooks of %q are not a list", name)
		}
		if list = withoutOurs(list); len(list) > 0 {
			kept[name] = list
		}
	}
	if program != "" {
		for name, ours := range c.Hooks(program) {
			list, _ := kept[name].([]any)
			kept[name] = append(list, ours.([]any)...)
		}
	}
	delete(doc, "hooks")
	if len(kept) > 0 {
		doc["hooks"] = kept
	}
	return indented(doc)
}

// MergeManaged is Merge for an organisation's settings: nothing below them
// switches all hooks off.
func (c *Client) MergeManaged(settings []byte, program string) ([]byte, error) {
	merged, err := c.Merge(settings, program)
	if err != nil || c.insist == nil {
		return merged, err
	}
	doc, err := parseSettings(merged)
	if err != nil {
		return nil, err
	}
	for name, members := range c.insist {
		there, _ := doc[name].(object)
		if there == nil {
			there = object{}
		}
		for member, value := range members.(object) {
			if delete(there, member); program != "" {
				there[member] = value
			}
		}
		if doc[name] = there; len(there) == 0 {
			delete(doc, name)
		}
	}
	return indented(doc)
}

func parseSettings(settings []byte) (object, error) {
	doc := object{}
	if len(bytes.TrimSpace(settings)) == 0 {
		return doc, nil
	}
	dec := json.NewDecoder(bytes.NewReader(settings))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("not an object in JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON object")
	}
	return doc, nil
}

func indented(doc any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(doc)
	return b.Bytes(), err
}

// withoutOurs drops the hooks that start carrel hook, and groups that held
// nothing else.
func withoutOurs(groups []any) []any {
	var out []any
	for _, g := range groups {
		group, _ := g.(object)
		list, _ := group["hooks"].([]any)
		rest := slices.DeleteFunc(slices.Clone(list), func(h any) bool { _, ours := ourCommand(h); return ours })
		switch {
		case len(rest) == len(list):
			out = append(out, g)
		case len(rest) > 0:
			group["hooks"] = rest
			out = append(out, group)
		}
	}
	return out
}

// Installed says how one settings file stands: the command of each hook that
// it registers for every tool, and what would keep them from being called.
type Installed struct {
	Commands map[string]Command // by hook
	Off      string             // why none of them runs; "" if nothing says so
	settings object
}

// ReadInstalled reads a client's settings.
func (c *Client) ReadInstalled(settings []byte) (Installed, error) {
	in := Installed{Commands: map[string]Command{}}
	doc, err := parseSettings(settings)
	if err != nil {
		return in, err
	}
	in.Off = c.off(doc)
	in.settings = doc
	hooks, _ := doc["hooks"].(object)
	for name, groups := range hooks {
		list, _ := groups.([]any)
		for _, g := range list {
			group, _ := g.(object)
			if m, _ := group["matcher"].(string); m != "" && m != "*" {
				continue // some tools would pass it by
			}
			entries, _ := group["hooks"].([]any)
			for _, h := range entries {
				if command, ours := ourCommand(h); ours {
					in.Commands[name] = command
				}
			}
		}
	}
	return in, nil
}

// Managed is, for Claude Code, what an organisation's managed settings say: the hooks, and that
// nothing below can switch them off, add others or go past the prompts.
func Managed(program string) map[string]any {
	return object{
		"hooks":                 claudeCode.Hooks(program),
		"allowManagedHooksOnly": true,
		"disableAllHooks":       false,
		"permissions":           object{"disableBypassPermissionsMode": "disable"},
	}
}

// PolicyHelper is what the client's policyHelper prints.
func PolicyHelper(program string) ([]byte, error) {
	return indented(object{"managedSettings": Managed(program)})
}

// ManagedFile is the text of a managed settings file. With helper, the client
// asks that program at every start and does not start if it fails.
func ManagedFile(program, helper string) ([]byte, error) {
	doc := Managed(program)
	if helper != "" {
		doc["policyHelper"] = object{"path": helper, "timeoutMs": 10000, "refreshIntervalMs": 60000}
	}
	return indented(doc)
}

// AtDesk is a managed settings file as a desk shows it: without the hooks and
// the policy helper that start Carrel, which is not inside. The walls are.
func AtDesk(settings []byte) ([]byte, error) {
	merged, err := claudeCode.Merge(settings, "") // takes out every client's
	if err != nil {
		return nil, err
	}
	doc, err := parseSettings(merged)
	if err != nil {
		return nil, err
	}
	delete(doc, "policyHelper")
	return indented(doc)
}

// CheckServers reads a list of MCP servers as the client would, and says what
// in it the client would not understand.
func CheckServers(text []byte) error {
	var doc struct {
		Servers map[string]struct {
			Type    string   `json:"type"`
			URL     string   `json:"url"`
			Command string   `json:"command"`
			Args    []string `json:"args"`
		} `json:"mcpServers"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("not a list of MCP servers: %w", err)
	}
	if doc.Servers == nil {
		return errors.New(`no member "mcpServers"`)
	}
	for name, s := range doc.Servers {
		switch {
		case s.URL != "" && !slices.Contains([]string{"http", "sse", "ws"}, s.Type):
			return fmt.Errorf("server %q: a url needs type http, sse or ws; without it the client starts a program", name)
		case s.URL == "" && s.Command == "":
			return fmt.Errorf("server %q has neither url nor command", name)
		case s.URL != "" && s.Command != "":
			return fmt.Errorf("server %q has both url and command", name)
		}
	}
	return nil
}
