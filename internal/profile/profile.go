// Package profile holds what Carrel knows of agents, as data: which hosts they
// need, how their home is first filled, what tells them that they are already
// inside walls, and which model endpoint they talk to.
//
// It is trusted with the words that are shown when the user is asked to use a
// profile, and with copying settings out of the user's home without copying a
// credential. A profile grants nothing: the engine shows it, the user accepts
// it, policy decides.
package profile

// Profile is one agent. The zero value grants and sets nothing.
type Profile struct {
	Name  string   `yaml:"name"`
	Title string   `yaml:"title"` // for people: "Claude Code"
	Match []string `yaml:"match"` // command names
	// Egress are the destinations it needs beside the model door.
	Egress []Destination `yaml:"egress"`
	Home   Home          `yaml:"home"`
	Env    []Variable    `yaml:"env"`
	// Briefings are paths inside where a copy of the briefing is put, read-only:
	// absolute.
	Briefings []string `yaml:"briefings"`
	// HostFiles are paths of the host shown read-only at the same place if they
	// exist: an organisation's managed settings.
	HostFiles []string `yaml:"host_files"`
	Model     *Model   `yaml:"model"`
	// Login says what a subscription login kept in the desk's own home means.
	// It is shown to the user when the home is kept and no key is found.
	Login string `yaml:"login"`
	// Notes are shown with the profile: one sentence each.
	Notes []string `yaml:"notes"`
}

// Destination is one egress rule, as in the configuration.
type Destination struct {
	Host     string `yaml:"host"`
	Ports    []int  `yaml:"ports"`
	Protocol string `yaml:"protocol"`
	Why      string `yaml:"why"`
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

// Fill is one file of the desk's home.
type Fill struct {
	Path string `yaml:"path"` // relative to both homes
	// Keep names the members of a JSON file that are taken from the host's;
	// a dot leads into an object. Files of other kinds are never copied.
	Keep []string `yaml:"keep"`
	// Set has members that are set whatever the host says.
	Set map[string]any `yaml:"set"`
	// Text is the content of a file that is not JSON; it is written only if
	// the desk's home does not have the file yet.
	Text string `yaml:"text"`
	Why  string `yaml:"why"`
}

// Model is the agent's model endpoint and how its key is carried.
type Model struct {
	Name     string `yaml:"name"`     // "Anthropic API"
	Endpoint string `yaml:"endpoint"` // https URL without a path, or with the prefix the door adds
	// EndpointEnv are variables of the host that name another endpoint.
	EndpointEnv []string `yaml:"endpoint_env"`
	// Header and Scheme carry the key: "x-api-key" and "", or "authorization"
	// and "Bearer".
	Header string `yaml:"header"`
	Scheme string `yaml:"scheme"`
	// Keys are where a key may come from, in order.
	Keys []KeySource `yaml:"keys"`
	// Env is set only while the door is open: base URL, placeholder key.
	Env []Variable `yaml:"env"`
	// Args are put after the command while the door is open, for agents whose
	// endpoint no variable sets.
	Args []string `yaml:"args"`
	// Strip are headers of the agent that never go on.
	Strip []string `yaml:"strip"`
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
	// Header and Scheme differ from the model's where the kind of key does.
	Header string `yaml:"header"`
	Scheme string `yaml:"scheme"`
}
