// Package origin says where a line of code, or a commit, comes from: which run
// of which agent made it, what was decided about it, and who agreed.
//
// It is trusted to claim no more than what the log, the kept changes and git
// show together, and to say how sure that is. What a commit's message says of
// itself is a claim of its author and is called one. It reads and changes
// nothing.
package origin

import (
	"context"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/git"
)

// Publication is a change that left its desk, as the log has it.
type Publication struct {
	Run       carrel.RunID                  `json:"run"`
	Agent     string                        `json:"agent,omitempty"`
	User      string                        `json:"user,omitempty"` // who started the run, "uid:name"
	Change    carrel.ChangeID               `json:"change"`
	Digest    carrel.Digest                 `json:"digest"`
	Manifest  carrel.Digest                 `json:"-"` // "" if the log does not name one
	Workspace carrel.Text                   `json:"workspace"`
	Target    string                        `json:"target"`
	Branch    string                        `json:"branch,omitempty"`
	Commit    string                        `json:"commit,omitempty"`
	Time      time.Time                     `json:"time"`
	Record    int64                         `json:"record"` // of the result, its index in the log
	Action    carrel.ActionID               `json:"action"`
	Decision  *carrel.Decision              `json:"decision"`
	Approval  *carrel.Approval              `json:"approval,omitempty"`
	Attested  string                        `json:"attestations,omitempty"` // the file that has them
	Kept      bool                          `json:"kept"`                   // its manifest is still there
	Files     int                           `json:"files"`
	files     map[string]*carrel.FileChange // by path; nil unless kept
}

// Log knows what was published, oldest first. An error means that not all of
// the log could be read.
type Log interface {
	Publications(ctx context.Context) ([]Publication, error)
}

// How says what connects a line or a commit with a publication.
type How string

// The ways, the surest first.
const (
	// ByCommit: the log says that this very commit was made from the change.
	ByCommit How = "commit"
	// ByContent: the file is, byte for byte, what the change made it, and the
	// line is one that the change brought.
	ByContent How = "content"
	// ByText: the change brought a line of this text to this file; the file was
	// altered since. The same line may have been written twice.
	ByText How = "text"
	// Unknown: no agent is known to have touched it.
	Unknown How = "none"
)

// Answer is what is known of a line or a commit.
type Answer struct {
	Path        string             `json:"path,omitempty"`
	Line        int                `json:"line,omitempty"`
	Text        carrel.Text        `json:"text,omitempty"`
	Commit      string             `json:"commit,omitempty"` // that brought the line; empty: it is not committed
	Agent       bool               `json:"agent"`            // an agent is known to have made it
	How         How                `json:"how"`
	Sure        string             `json:"sure"` // one sentence about what that shows
	Publication *Publication       `json:"publication,omitempty"`
	File        *carrel.FileChange `json:"file,omitempty"` // what was decided about the file
	Matched     int                `json:"matched_files,omitempty"`
	Changed     int                `json:"changed_files,omitempty"`
	Claim       *Claim             `json:"claim,omitempty"` // of a commit's message, without a record
	// Lost counts published changes here whose contents are no longer kept:
	// what they brought cannot be compared.
	Lost int `json:"not_kept"`
}

// Claim is what a commit's message says of where it comes from.
type Claim struct {
	Run    carrel.Text `json:"run"`
	Change carrel.Text `json:"change"`
}

// Finder looks for origins. Its functions must be safe for one call at a time.
type Finder struct {
	Log  Log
	Repo *git.Repo // nil outside git
	Root string    // of the workspace
	// Load returns the frozen change of a publication, or an error if it is not
	// kept.
	Load func(Publication) (*carrel.Change, error)
	// Content returns a kept content.
	Content func(carrel.Digest) ([]byte, error)

	published []Publication // newest first, of this workspace
	lost      int
}

// prepare reads the log once.
func (f *Finder) prepare(ctx context.Context) error {
	all, err := f.Log.Publications(ctx)
	if err != nil {
		return err
	}
	for i := len(all) - 1; i >= 0; i-- {
		p := all[i]
		if change, err := f.Load(p); err == nil {
			p.keep(change)
		} else if string(p.Workspace) == f.Root {
			f.lost++
		}
		f.published = append(f.published, p)
	}
	return nil
}

func (p *Publication) keep(c *carrel.Change) {
	p.Kept, p.Files, p.files = true, len(c.Files), make(map[string]*carrel.FileChange, len(c.Files))
	for i := range c.Files {
		p.files[string(c.Files[i].Path)] = &c.Files[i]
	}
}

// file returns what a publication did to a path; nil if nothing.
func (p *Publication) file(path string) *carrel.FileChange { return p.files[path] }
