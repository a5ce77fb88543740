package profile

import (
	"embed"
	"fmt"
	"slices"
)

//go:embed ecosystem/*.yaml
var ecosystemFiles embed.FS

// ecosystems is how they are listed; each is a file of ecosystem/.
var ecosystems = []string{"npm", "go", "pip", "cargo", "apt", "git"}

// EcosystemNames lists the ecosystems: what a package manager needs beside
// whatever agent uses it.
func EcosystemNames() []string { return slices.Clone(ecosystems) }

// Ecosystem returns the narrow rules and variables of a package manager. They
// only read: nothing can be published with them.
func Ecosystem(name string) (Profile, bool) {
	if !slices.Contains(ecosystems, name) {
		return Profile{}, false
	}
	raw, err := ecosystemFiles.ReadFile("ecosystem/" + name + ".yaml")
	if err != nil {
		panic(fmt.Sprintf("ecosystem %s: %v", name, err))
	}
	p, err := Parse(raw)
	if err != nil {
		panic(fmt.Sprintf("ecosystem %s: %v", name, err))
	}
	return p, true
}
