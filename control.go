package carrel

// Level says how far a control is enforced, as a probe found it.
type Level string

// The levels. The zero value is not enforced.
const (
	Enforced    Level = "enforced"
	Partly      Level = "partly"
	NotEnforced Level = "not"
)

// Control is one wall or limit, by name.
type Control string

// The controls every tier answers for.
const (
	ControlFiles     Control = "files"     // the desk sees its workspace and what it was given
	ControlStaging   Control = "staging"   // changes land in a private layer
	ControlProcesses Control = "processes" // nothing outside can be seen, signalled or traced
	ControlPrivilege Control = "privilege" // never host uid 0, no capability, no new privileges
	ControlSyscalls  Control = "syscalls"  // seccomp table in force
	ControlLandlock  Control = "landlock"  // a second, independent wall around files
	ControlNetwork   Control = "network"   // every connection is captured or refused
	ControlNames     Control = "names"     // DNS answers only what policy allows
	ControlStreams   Control = "streams"   // no host descriptor enters
	ControlLifetime  Control = "lifetime"  // everything inside ends with the run
	ControlMemory    Control = "memory"
	ControlPids      Control = "pids"
	ControlDisk      Control = "disk"
	ControlExec      Control = "exec" // commands are gated one by one
)

// Enforcement is what a tier answers for one control.
type Enforcement struct {
	Control Control `json:"control"`
	Level   Level   `json:"level"`
	How     string  `json:"how"`           // the mechanism, or the probe's finding
	Fix     string  `json:"fix,omitempty"` // one command or sentence; empty when enforced
}
