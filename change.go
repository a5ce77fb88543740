package carrel

import (
	"fmt"
	"time"
)

// What the inside of every desk looks like, in as far as more than one package
// must know it.
const (
	DeskWorkspace = "/workspace"     // where the workspace is seen, besides its own path
	MessageFile   = "commit-message" // in the outbox: what the agent proposes to call its change
)

// FileKind is what a path is.
type FileKind string

// The kinds of file a change can hold. Special files (FIFO, socket, device)
// are reported and never opened.
const (
	FileRegular FileKind = "file"
	FileLink    FileKind = "link"
	FileDir     FileKind = "dir"
	FileSpecial FileKind = "special"
	FileNone    FileKind = "none"
)

// Alteration is what a change does to a path.
type Alteration string

// The alterations.
const (
	Created     Alteration = "create"
	Modified    Alteration = "modify"
	Deleted     Alteration = "delete"
	TypeChanged Alteration = "type"
	ModeChanged Alteration = "mode"
)

// Severity orders labels: none, low, medium, high, critical.
type Severity string

// The severities, in rising order.
const (
	SeverityNone     Severity = "none"
	SeverityLow      Severity = "low"
	SeverityMedium   Severity = "medium"
	SeverityHigh     Severity = "high"
	SeverityCritical Severity = "critical"
)

// Rank returns 0 (none) to 4 (critical); an unknown severity ranks as critical.
func (s Severity) Rank() int {
	switch s {
	case SeverityNone, "":
		return 0
	case SeverityLow:
		return 1
	case SeverityMedium:
		return 2
	case SeverityHigh:
		return 3
	}
	return 4
}

// Label says why a file deserves a look.
type Label struct {
	Name     string   `json:"name"` // kebab-case, listed in docs/risks.md
	Severity Severity `json:"severity"`
	Reason   string   `json:"reason"`
}

// FileState is one side of a file's alteration.
type FileState struct {
	Kind   FileKind `json:"kind"`
	Mode   uint32   `json:"mode"` // permission bits, with setuid, setgid and sticky
	Size   int64    `json:"size"`
	Digest Digest   `json:"digest,omitempty"` // of the content, or of the link's target
	Target Text     `json:"target,omitempty"` // of a link
}

// FileChange is one path of a change: what it would be (Kind, Mode, Size,
// Digest, Target; Kind none when deleted) and what it was.
type FileChange struct {
	Path   Text       `json:"path"` // relative to the workspace, with slashes
	Change Alteration `json:"change"`
	FileState
	Before FileState `json:"before"`
	// Stamp, where it is set, is the path's own start stamp and counts instead
	// of the change's Base.Stamp: work that was resumed, or followed an apply.
	Stamp    time.Time `json:"stamp,omitzero"`
	Nlink    int       `json:"nlink,omitempty"` // more than one: a hard link inside the desk
	Labels   []Label   `json:"labels"`
	Decision Decision  `json:"decision"`
}

func (f FileChange) clone() FileChange {
	f.Labels = append([]Label(nil), f.Labels...)
	f.Decision.Rules = append([]string(nil), f.Decision.Rules...)
	f.Decision.NextSteps = append([]string(nil), f.Decision.NextSteps...)
	f.Decision.Addresses = append([]string(nil), f.Decision.Addresses...)
	return f
}

// Risk sums up a change: the highest severity and how many labels of each
// name it has. It is no score.
type Risk struct {
	Level  Severity       `json:"level"`
	Counts map[string]int `json:"counts"`
}

func (r Risk) clone() Risk {
	counts := make(map[string]int, len(r.Counts))
	for k, v := range r.Counts {
		counts[k] = v
	}
	r.Counts = counts
	return r
}

// Base is what a change was made against.
type Base struct {
	Commit string    `json:"commit,omitempty"` // full object name; empty outside git or before the first commit
	Branch string    `json:"branch,omitempty"`
	Stamp  time.Time `json:"stamp"` // start of the desk's work: a target whose ctime is later has moved
}

// Change is what a run would alter in the workspace: a frozen manifest. Files
// are sorted by path.
type Change struct {
	Version   int          `json:"v"`
	ID        ChangeID     `json:"id"`
	Run       RunID        `json:"run"`
	Desk      DeskID       `json:"desk"`
	Workspace Text         `json:"workspace"`
	Base      Base         `json:"base"`
	Taken     time.Time    `json:"taken"`
	Running   bool         `json:"running"` // taken while the run went on
	Files     []FileChange `json:"files"`
	Withheld  []FileChange `json:"withheld"`          // denied by policy, or special: never applied
	Risk      Risk         `json:"risk"`              // of Files
	Message   Text         `json:"message,omitempty"` // the agent's proposal for a commit message
}

// frozenFile is the part of a file that a change's digest covers: what it
// does, not what was thought of it.
type frozenFile struct {
	Path   Text       `json:"path"`
	Change Alteration `json:"change"`
	After  FileState  `json:"after"`
	Before FileState  `json:"before"`
}

func freeze(files []FileChange) []frozenFile {
	out := make([]frozenFile, len(files))
	for i, f := range files {
		out[i] = frozenFile{f.Path, f.Change, f.FileState, f.Before}
	}
	return out
}

// Digest covers the workspace, the base commit, the files that would be
// applied and those withheld: what people approve.
func (c Change) Digest() (Digest, error) {
	b, err := Canonical(struct {
		Version   int          `json:"v"`
		Workspace Text         `json:"workspace"`
		Commit    string       `json:"commit"`
		Files     []frozenFile `json:"files"`
		Withheld  []frozenFile `json:"withheld"`
	}{c.Version, c.Workspace, c.Base.Commit, freeze(c.Files), freeze(c.Withheld)})
	if err != nil {
		return "", fmt.Errorf("digesting change %s: %w", c.ID, err)
	}
	return DigestBytes(b), nil
}
