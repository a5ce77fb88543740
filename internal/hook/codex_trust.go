package hook

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// Untrusted says why Codex passes by the hook before tools that the settings
// in file register, as the user's config.toml has it; "" if it calls it. The
// client runs a hook only if somebody has looked at exactly this one.
func (in Installed) Untrusted(file, config string) string {
	hooks, _ := in.settings["hooks"].(object)
	groups, _ := hooks[preToolUse].([]any)
	for i, g := range groups {
		group, _ := g.(object)
		entries, _ := group["hooks"].([]any)
		for j, h := range entries {
			entry, _ := h.(object)
			if _, ours := ourCommand(h); !ours {
				continue
			}
			state := tableOf(config, fmt.Sprintf("hooks.state.%q", fmt.Sprintf("%s:pre_tool_use:%d:%d", file, i, j)))
			switch {
			case strings.Contains(state, "enabled = false"):
				return "the hook is switched off in the client"
			case !strings.Contains(state, fmt.Sprintf("trusted_hash = %q", trustHash("pre_tool_use", group["matcher"], entry))):
				return "the client passes the hooks by until somebody has trusted them: open codex once and look at them"
			}
		}
	}
	return ""
}

// trustHash is what the client remembers of a hook that was looked at.
func trustHash(event string, matcher any, entry object) string {
	said, err := json.Marshal(object{"event_name": event, "matcher": matcher, "hooks": []any{
		object{"type": "command", "command": entry["command"], "timeout": entry["timeout"], "async": false}}})
	if err != nil { // values that were parsed always encode
		return ""
	}
	// The client does not escape what only matters to HTML.
	said = []byte(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(said)))
	sum := sha256.Sum256(said)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// tableOf is the text of one table of a TOML file.
func tableOf(config, name string) string {
	_, rest, ok := strings.Cut("\n"+config, "\n["+name+"]\n")
	if !ok {
		return ""
	}
	table, _, _ := strings.Cut("\n"+rest, "\n[")
	return table
}

// CodexTrust is the part of Codex's config.toml that says that somebody has
// looked at the hooks which settings, the text of that file, registers.
func CodexTrust(settings []byte, file string) (string, error) {
	doc, err := parseSettings(settings)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	hooks, _ := doc["hooks"].(object)
	for name, groups := range hooks {
		event := snake(name)
		list, _ := groups.([]any)
		for i, g := range list {
			group, _ := g.(object)
			entries, _ := group["hooks"].([]any)
			for j, h := range entries {
				entry, _ := h.(object)
				fmt.Fprintf(&out, "[hooks.state.%q]\ntrusted_hash = %q\n", fmt.Sprintf("%s:%s:%d:%d", file, event, i, j), trustHash(event, group["matcher"], entry))
			}
		}
	}
	return out.String(), nil
}

func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if r >= 'A' && r <= 'Z' && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}
