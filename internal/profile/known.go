package profile

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed known/*.yaml
var files embed.FS

// order is how profiles are listed; each is a file of known/.
var order = []string{"claude", "codex", "gemini", "aider", "aider-openai", "default"}

// Names lists the known profiles.
func Names() []string { return slices.Clone(order) }

// Get returns a known profile. Each call parses it anew: a run pays for the one
// it uses, and what a caller changes is its own. A file that does not parse is
// a fault of this program, which a test finds.
func Get(name string) (Profile, bool) {
	if !slices.Contains(order, name) {
		return Profile{}, false
	}
	raw, err := files.ReadFile("known/" + name + ".yaml")
	if err != nil {
		panic(fmt.Sprintf("profile %s: %v", name, err))
	}
	p, err := Parse(raw)
	if err != nil {
		panic(fmt.Sprintf("profile %s: %v", name, err))
	}
	return p, true
}

// Default returns the profile of any command: it grants and sets nothing.
func Default() Profile {
	p, _ := Get("default")
	return p
}

// Match returns the profile that fits a command by its name, and whether one
// does.
func Match(command string) (Profile, bool) {
	command = command[strings.LastIndexByte(command, '/')+1:]
	name, ok := commands[command]
	if !ok {
		return Profile{}, false
	}
	return Get(name)
}

// commands says which profile a command's name means, without parsing every
// profile; a test compares it with what the profiles say.
var commands = map[string]string{"claude": "claude", "codex": "codex", "gemini": "gemini", "aider": "aider"}
