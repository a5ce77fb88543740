//go:build linux

package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/carrel-dev/carrel/internal/sandbox/native"
	"github.com/carrel-dev/carrel/internal/sandbox/view"
)

// DefaultApprovalTime is how long an approval holds unless said otherwise.
const DefaultApprovalTime = 24 * time.Hour

// RunOptions are what `carrel run` was asked for. Zero values mean what the
// configuration, the profile or the default says.
type RunOptions struct {
	Command         []string
	Workspace       string
	Profiles        []string // at most one of an agent
	YesProfile      bool
	Env             []string
	RO              []string
	Hide            []string
	Allow           []string
	Services        []string
	Expose          []string // HOSTPORT:PORT or PORT
	Credentials     []string // names, of those lent only where asked for
	Limit           string
	LimitBestEffort bool
	Home            string // keep, discard or ""
	Cache           []string
	CacheSet        bool
	Fresh           bool
	Learn           bool // propose, at the end, what would have allowed what was refused
	DryRun          bool
	Result          string
	Policy          []string
	Staging         string // overlay, copy or ""
	Commands        string // off, record, decide or ""
	Apply           string // auto or ""
	Tier            string
	AskTimeout      time.Duration // how long an action waits for a person; 0: two minutes
	JSON            bool
	NoColor         bool
	Ahead           *native.Tier // whose PID 1 is on its way already, in place.Paths.Init; nil: the run starts it
}

// Selection names the change a verb acts on. Empty means the change that
// review showed last in this workspace.
type Selection struct {
	ID        string // a change or a run
	Digest    string // the whole digest, or its first digits
	Workspace string
}

// ReviewOptions are the flags of review.
type ReviewOptions struct {
	JSON    bool
	NoColor bool
	NoPager bool
	Stat    bool
	Content string // print this file alone, as the agent left it
}

// AnswerOptions are the flags of approve and deny.
type AnswerOptions struct {
	Reason string
	For    time.Duration
	JSON   bool
}

// ApplyOptions are the flags of apply.
type ApplyOptions struct {
	Branch  string
	Message string
	JSON    bool
	NoColor bool
}

// DiscardOptions are the flags of discard.
type DiscardOptions struct {
	Yes  bool
	JSON bool
}

// RunsOptions are the flags of runs.
type RunsOptions struct {
	All  bool
	JSON bool
}

// PruneOptions are the flags of runs prune.
type PruneOptions struct {
	Older     time.Duration
	Unapplied bool
	JSON      bool
}

// ShowOptions are the flags of show.
type ShowOptions struct {
	Denials bool // only what was refused
	JSON    bool
}

// TrustOptions are the flags of trust.
type TrustOptions struct {
	Yes    bool
	Revoke bool
	JSON   bool
}

// DoctorOptions are the flags of doctor.
type DoctorOptions struct {
	Fix     bool
	JSON    bool
	NoColor bool
}

// check refuses words that mean nothing before anything is touched.
func (o RunOptions) check() error {
	oneOf := func(flag, value string, allowed ...string) error {
		for _, a := range append(allowed, "") {
			if value == a {
				return nil
			}
		}
		return fmt.Errorf("--%s %q: use one of %v", flag, value, allowed)
	}
	var caches []error
	for _, name := range o.Cache {
		caches = append(caches, oneOf("cache", name, append(view.CacheNames(), "none")...))
	}
	if o.JSON && !o.DryRun {
		return errors.New("--json goes with --dry-run; a run writes its JSON with --result FILE")
	}
	return errors.Join(
		oneOf("home", o.Home, "keep", "discard"),
		oneOf("staging", o.Staging, "auto", "overlay", "copy"),
		oneOf("commands", o.Commands, commandsOff, commandsRecord, commandsDecide),
		oneOf("apply", o.Apply, "auto"),
		oneOf("tier", o.Tier, native.Name),
		errors.Join(caches...),
	)
}
