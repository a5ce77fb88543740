// Package profile holds what Carrel knows of agents, as data: which hosts they
// need, how their home is first filled, what tells them that they are already
// inside walls, and which model endpoint they talk to.
//
// It is trusted with the words that are shown when the user is asked to use a
// profile, and with copying settings out of the user's home without copying a
// credential. A profile grants nothing: the engine shows it, the user accepts
// it, policy decides.
package profile

import "encoding/json"

// Profile is one agent. The zero value grants and sets nothing.
type Profile struct {
	Name  string   `yaml:"name"`
	Title string   `yaml:"title"` // for people: "Claude Code"
	Match []string `yaml:"match"` // command names
	// Egress are the destinations it needs beside the model door.
	Egress []Destination `yaml:"egress"`
	Home   Home          `yaml:"home"`
	Env    []Variable    `yaml:"env"`
	// Briefings are absolute paths inside where a copy of the briefing is put,
	// read-only: where the agent looks for standing instructions.
	Briefings []string `yaml:"briefings"`
	// HostFiles are paths of the host shown read-only at the same place if they
	// exist: an organisation's managed settings.
	HostFiles []string `yaml:"host_files"`
	// Managed are settings files put inside, read-only: what counts at the desk
	// whatever the home and the workspace say.
	Managed []Managed `yaml:"managed"`
	// Hooks names the client, as carrel hook does, whose settings of the desk
	// make it ask http://tools.desk before it uses a tool. "": it does not.
	Hooks string `yaml:"hooks"`
	Model *Model `yaml:"model"`
	// Login says what a subscription login kept in the desk's own home means.
	// It is shown to the user when the home is kept and no key is found.
	Login string `yaml:"login"`
	// Notes are shown with the profile: one sentence each.
	Notes []string `yaml:"notes"`
}

// Managed is one settings file of the desk, in JSON.
type Managed struct {
	Path string         `yaml:"path"` // absolute
	Set  map[string]any `yaml:"set"`
	// Env is the member that names the variables of the profile, so that no
	// other settings file changes them. Empty: none does.
	Env string `yaml:"env"`
	Why string `yaml:"why"`
}

// Content is the file's text, with the variables that are in force.
func (m Managed) Content(variables []Variable) ([]byte, error) {
	doc := map[string]any{}
	for k, v := range m.Set {
		doc[k] = v
	}
	if m.Env != "" {
		env := map[string]string{}
		for _, v := range variables {
			env[v.Name] = v.Value
		}
		doc[m.Env] = env
	}
	return json.MarshalIndent(doc, "", "  ")
}

// Destination is one egress rule, as in the configuration.
type Destination struct {
	Host     string `yaml:"host"`
	Ports    []int  `yaml:"ports"`
	Protocol string `yaml:"protocol"`
	// Methods and Paths narrow it to some requests.
	Methods []string `yaml:"methods"`
	Paths   []string `yaml:"paths"`
	Why     string   `yaml:"why"`
	// Login destinations are needed only where the agent keeps a login of its
	// own, and not while the model door is open.
	Login bool `yaml:"login"`
}

// Destinations returns what the agent needs to reach, given whether the model
// door is open.
func (p Profile) Destinations(door bool) []Destination {
	var out []Destination
	for _, d := range p.Egress {
		if !d.Login || !door {
			out = append(out, d)
		}
	}
	return out
}

// Variable is one variable of the agent's environment, and why it is set.
type Variable struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
	Why   string `yaml:"why"`
}

// Home says whether the desk's home is kept and how it is first filled.
type Home struct {
	Keep bool   `yaml:"keep"`
	Fill []Fill `yaml:"fill"`
}

// Fill is one file of the desk's home, written only where there is none yet.
type Fill struct {
	Path string `yaml:"path"` // relative to both homes
	// Keep names the members of a JSON object that are taken from the host's
	// file; a dot leads into an object. Nothing else of that file is taken.
	Keep []string `yaml:"keep"`
	// Set has members that are set whatever the host says. {workspace}, in a
	// name and in Text, stands for the workspace's path.
	Set map[string]any `yaml:"set"`
	// Text is the content of a file that is not JSON. The host's is not read.
	Text string `yaml:"text"`
	Why  string `yaml:"why"`
}

// Model is the agent's model endpoint and how its key is carried.
type Model struct {
	Name     string `yaml:"name"`     // "Anthropic API"
	Endpoint string `yaml:"endpoint"` // https URL; its path goes before the path the agent asks for
	// EndpointEnv are variables of the host that name another endpoint.
	EndpointEnv []string `yaml:"endpoint_env"`
	// Header carries the key; in Authorization it is a bearer token.
	Header string `yaml:"header"`
	// Keys are where a key may come from, in order.
	Keys []KeySource `yaml:"keys"`
	// Env is set only while the door is open: base URL, placeholder key.
	Env []Variable `yaml:"env"`
	// Args are put after the command while the door is open, for agents whose
	// endpoint no variable sets.
	Args []string `yaml:"args"`
}

// KeySource is one place a key may come from. Exactly one of Env, File and
// Helper is set.
type KeySource struct {
	Env  string `yaml:"env"`
	File string `yaml:"file"` // ~/… of the host
	JSON string `yaml:"json"` // member of File that is the key; "" for the whole file
	// Helper is a JSON file of the host whose member JSON is the agent's own
	// command that prints a key.
	Helper string `yaml:"helper"`
	// Header is where this kind of key goes, if not where the model's does.
	Header string `yaml:"header"`
}
