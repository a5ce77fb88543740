package config

import (
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// Layer says whose configuration a file is.
type Layer string

// The layers.
const (
	Organisation Layer = "organisation"
	User         Layer = "user"
	Repository   Layer = "repository"
)

// RepositoryPath is where a repository keeps its configuration.
const RepositoryPath = ".carrel/config.yaml"

// Origin says where a value was said.
type Origin struct {
	Layer Layer  `json:"layer"`
	File  string `json:"file"`
	Line  int    `json:"line"`
}

// String is the origin as people look it up: file and line.
func (o Origin) String() string {
	if o.File == "" {
		return "not set"
	}
	return fmt.Sprintf("%s:%d", o.File, o.Line)
}

// Value is a value and where it was said. A Value that nobody said has an
// empty origin.
type Value[T any] struct {
	Value  T      `json:"value"`
	Origin Origin `json:"origin"`
}

// IsSet reports whether anybody said the value.
func (v Value[T]) IsSet() bool { return v.Origin.File != "" }

// UnmarshalYAML implements yaml.Unmarshaler.
func (v *Value[T]) UnmarshalYAML(n *yaml.Node) error {
	v.Origin.Line = n.Line
	return n.Decode(&v.Value)
}

// The two methods let generic code look through a Value of any type.
func (v Value[T]) inner() reflect.Type { return reflect.TypeFor[T]() }
func (v *Value[T]) stamp(layer Layer, file string) {
	if v.Origin.Line > 0 {
		v.Origin.Layer, v.Origin.File = layer, file
	}
}

// File is one configuration file. Its zero value grants and sets nothing.
type File struct {
	// What the desk may reach, see and use.
	Egress   []Value[Egress]  `yaml:"egress"`
	Services []Value[Service] `yaml:"services"`
	Env      []Value[string]  `yaml:"env"` // NAME or NAME=VALUE
	RO       []Value[string]  `yaml:"ro"`
	Cache    []Value[string]  `yaml:"cache"`
	// A repository says names only.
	Credentials []Value[Credential] `yaml:"credentials"`

	// What narrows the desk.
	Hide    []Value[string] `yaml:"hide"`
	Limits  Limits          `yaml:"limits"`
	Home    Value[string]   `yaml:"home"`
	Staging Value[string]   `yaml:"staging"`
	// Commands says what becomes of the programs that run inside: off, record
	// or decide.
	Commands Value[string] `yaml:"commands"`

	// What only the organisation and the user may say.
	Profile       map[string]Value[string]    `yaml:"profile"` // remembered: command to profile
	Profiles      map[string]Value[yaml.Node] `yaml:"profiles"`
	Model         Model                       `yaml:"model"`
	Policy        []Value[string]             `yaml:"policy"`
	PolicyKeys    []Value[string]             `yaml:"policy_keys"` // that sign bundles
	Tools         []Value[string]             `yaml:"tools"`       // of agents' clients, for their hooks
	UpstreamProxy Value[string]               `yaml:"upstream_proxy"`
	ExtraRoots    []Value[string]             `yaml:"extra_roots"`
	Identity      Value[Identity]             `yaml:"identity"`
	Signing       Value[Signing]              `yaml:"signing"`
	Witnesses     Value[Witnesses]            `yaml:"witnesses"`
}

// Egress is one destination. What a host may look like is defined by the
// matching of rules, not here.
type Egress struct {
	Host     string `yaml:"host" json:"host"`
	Ports    []int  `yaml:"ports" json:"ports,omitempty"`
	Protocol string `yaml:"protocol" json:"protocol,omitempty"` // tls, http or tcp; empty: by port
	ECH      bool   `yaml:"ech" json:"ech,omitempty"`           // let an encrypted ClientHello pass
	// Addresses narrow where a name may lead; a private address is reachable
	// only where it is named.
	Addresses []string `yaml:"addresses" json:"addresses,omitempty"`
	// Methods and Paths narrow the rule to some requests; TLS is then
	// inspected. WebSocket lets a request become one. Upload bounds what may be
	// sent under the rule in one run.
	Methods   []string `yaml:"methods" json:"methods,omitempty"`
	Paths     []string `yaml:"paths" json:"paths,omitempty"`
	WebSocket bool     `yaml:"websocket" json:"websocket,omitempty"`
	Upload    Size     `yaml:"upload" json:"upload,omitempty"`
}

// Service is one service of the host, reached as NAME.desk.
type Service struct {
	Name    string `yaml:"name" json:"name"`
	Address string `yaml:"address" json:"address"` // host:port
}

// Limits bound a desk.
type Limits struct {
	Memory     Value[Size]     `yaml:"memory" json:"memory"`
	Pids       Value[int64]    `yaml:"pids" json:"pids"`
	Wall       Value[Duration] `yaml:"wall" json:"wall"`
	Disk       Value[Size]     `yaml:"disk" json:"disk"`
	Upload     Value[Size]     `yaml:"upload" json:"upload"` // what may be sent to the network in all
	BestEffort Value[bool]     `yaml:"best_effort" json:"best_effort"`
}

// Model is the model endpoint and where its key comes from.
type Model struct {
	Endpoint Value[string] `yaml:"endpoint" json:"endpoint"`
	Key      Value[Key]    `yaml:"key" json:"key"`
}

// Key says where a key comes from: one of the three.
type Key struct {
	Env     string   `yaml:"env" json:"env,omitempty"`
	File    string   `yaml:"file" json:"file,omitempty"`
	Command []string `yaml:"command" json:"command,omitempty"`
}

// Signing is a program that signs attestations, in place of a key that Carrel
// makes: it reads what is to be signed and writes the signature.
type Signing struct {
	Command   []string `yaml:"command" json:"command"`
	PublicKey string   `yaml:"public_key" json:"public_key"` // file, PEM
}

// Identity is who commits.
type Identity struct {
	Name  string `yaml:"name" json:"name"`
	Email string `yaml:"email" json:"email"`
}

// Witnesses cosign the log's checkpoints.
type Witnesses struct {
	List []Witness `yaml:"list" json:"list"`
	// Quorum is how many must cosign; 0: all of them.
	Quorum int `yaml:"quorum" json:"quorum"`
	// Missing says what happens when fewer do: tell (or empty), and go on, or
	// refuse to publish.
	Missing string `yaml:"missing" json:"missing,omitempty"`
}

// Witness is one of them, as C2SP tlog-witness has it.
type Witness struct {
	Key string `yaml:"key" json:"key"` // name+hash+key, of a cosignature key
	URL string `yaml:"url" json:"url"` // below which add-checkpoint is
}
