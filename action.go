package carrel

import (
	"fmt"
	"sync"
)

// Operation says what an action would do.
type Operation string

// The operations. Agents' operations are governed by every policy layer that
// declares them; operators' operations by the built-in and organisation
// layers only, so that no policy can lock its owner out.
const (
	OpRead       Operation = "read"
	OpWrite      Operation = "write"
	OpDelete     Operation = "delete"
	OpExec       Operation = "exec"
	OpResolve    Operation = "resolve"
	OpConnect    Operation = "connect"
	OpRequest    Operation = "request"
	OpCredential Operation = "credential"
	OpExpose     Operation = "expose"
	OpTool       Operation = "tool"
	OpPublish    Operation = "publish"

	OpApprove Operation = "approve"
	OpDeny    Operation = "deny"
	OpFreeze  Operation = "freeze"
	OpRevoke  Operation = "revoke"
	OpPolicy  Operation = "policy"
	OpAttest  Operation = "attest"
)

// AgentOperations lists the operations an agent can want, in a fixed order.
var AgentOperations = []Operation{
	OpRead, OpWrite, OpDelete, OpExec, OpResolve, OpConnect, OpRequest,
	OpCredential, OpExpose, OpTool, OpPublish,
}

// OperatorOperations lists the operators' own operations, in a fixed order.
var OperatorOperations = []Operation{OpApprove, OpDeny, OpFreeze, OpRevoke, OpPolicy, OpAttest}

// Protocol is what a network rule says is spoken.
type Protocol string

// The protocols a rule can name.
const (
	ProtoTLS  Protocol = "tls"
	ProtoHTTP Protocol = "http"
	ProtoTCP  Protocol = "tcp"
	ProtoDNS  Protocol = "dns"
)

// Action is one thing the agent (or an operator) wants. The gate clones and
// digests it on entry; afterwards nobody changes it. Fields that do not
// belong to the operation are zero.
type Action struct {
	ID        ActionID  `json:"id"`
	Run       RunID     `json:"run,omitempty"`
	Operation Operation `json:"operation"`
	Agent     string    `json:"agent,omitempty"` // registered identity: the profile's name

	// read, write, delete: absolute, clean, NFC, links resolved, below
	// /workspace for files of the workspace. RawPath is the spelling asked for.
	Path    string      `json:"path,omitempty"`
	RawPath Text        `json:"raw_path,omitempty"`
	File    *FileChange `json:"file,omitempty"`
	Owners  []string    `json:"owners,omitempty"` // of the path, by CODEOWNERS of the base commit

	// exec
	Argv       []Text   `json:"argv,omitempty"`
	Cwd        Text     `json:"cwd,omitempty"`
	Executable Digest   `json:"digest,omitempty"`  // of the program
	Process    *Process `json:"process,omitempty"` // who executes it; nil: the agent's own start, or a client's word

	// resolve, connect, request, credential: one canonical destination.
	// expose: where the host serves what a server of the desk (Subject) does.
	Host     string   `json:"host,omitempty"` // lower case, no trailing dot; or an address
	Port     int      `json:"port,omitempty"`
	Protocol Protocol `json:"protocol,omitempty"`
	Service  string   `json:"service,omitempty"` // a .desk service of the host, with what it stands for

	// request; of a credential method and URL alone
	Method   string   `json:"method,omitempty"`
	URL      Text     `json:"url,omitempty"`       // path and query as forwarded, in their one spelling
	Headers  []string `json:"headers,omitempty"`   // names, lower case, sorted, each once; never values
	BodySize int64    `json:"body_size,omitempty"` // bytes; -1 if the request does not say
	Upgrade  string   `json:"upgrade,omitempty"`   // the protocol it asks to switch to, lower case

	// publish
	Publication *Publication `json:"publication,omitempty"`

	// attest
	Attestation *Attestation `json:"attestation,omitempty"`

	// approve, deny, freeze, revoke, policy, attest: what it is about, and why.
	Subject       string `json:"subject,omitempty"` // an id
	SubjectDigest Digest `json:"subject_digest,omitempty"`
	Reason        Text   `json:"reason,omitempty"`
}

// Process is where an execution inside a desk comes from: the numbers, inside,
// of the process that becomes the program and of its parent. 0 where they
// cannot be told.
type Process struct {
	PID    int `json:"pid"`
	Parent int `json:"parent"`
}

// Publication is a change leaving the desk.
type Publication struct {
	Change   ChangeID `json:"change"`
	Digest   Digest   `json:"digest"`   // Change.Digest: files and withheld files
	Target   string   `json:"target"`   // TargetTree or TargetBranch
	Auto     bool     `json:"auto"`     // without a person looking, as `--apply auto` asks
	Files    int      `json:"files"`    // count of files that would be applied
	Withheld int      `json:"withheld"` // count of files kept back
	Risk     Risk     `json:"risk"`
}

// Attestation is what is about to be signed: the digests of the statements,
// and the key.
type Attestation struct {
	Key        Digest      `json:"key"` // of the public key in DER
	Statements []Statement `json:"statements"`
}

// Statement names one statement by its predicate type and the digest of its
// bytes.
type Statement struct {
	Type   string `json:"type"`
	Digest Digest `json:"digest"`
}

// Publication targets.
const (
	TargetTree   = "tree"
	TargetBranch = "branch"
)

// Digest binds decisions, approvals and grants to what the action would do.
// It covers everything but the identifier, which only names the occurrence.
func (a Action) Digest() (Digest, error) {
	d, _, err := a.Measure()
	return d, err
}

// Measure is Digest, and tells how many bytes of canonical JSON that covers.
func (a *Action) Measure() (d Digest, size int, err error) {
	unnamed := actions.Get().(*Action)
	*unnamed = *a
	unnamed.ID = ""
	err = withCanonical(unnamed, func(b []byte) { d, size = DigestBytes(b), len(b) })
	*unnamed = Action{}
	actions.Put(unnamed)
	if err != nil {
		return "", 0, fmt.Errorf("digesting action: %w", err)
	}
	return d, size, nil
}

// actions are lent for digests: an action is large, and digested often.
var actions = sync.Pool{New: func() any { return new(Action) }}

// Clone returns a deep copy.
func (a Action) Clone() Action {
	a.Argv = append([]Text(nil), a.Argv...)
	a.Headers = append([]string(nil), a.Headers...)
	a.Owners = append([]string(nil), a.Owners...)
	if a.File != nil {
		f := a.File.clone()
		a.File = &f
	}
	if a.Publication != nil {
		p := *a.Publication
		p.Risk = p.Risk.clone()
		a.Publication = &p
	}
	if a.Attestation != nil {
		t := *a.Attestation
		t.Statements = append([]Statement(nil), t.Statements...)
		a.Attestation = &t
	}
	return a
}
