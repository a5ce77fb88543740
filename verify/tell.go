package verify

import (
	"fmt"
	"strings"
	"time"

	"github.com/carrel-dev/carrel"
)

// onBase says what a change was made on. Without a commit there is none to name.
func onBase(t Target) string {
	if t.BaseCommit == "" {
		return "where no commit was: in a directory without git, or before the first one"
	}
	return fmt.Sprintf("on base commit %s of %q", t.BaseCommit, t.Repository)
}

// Tell says in words what a set proves about its change, and what it does not.
func (s *Set) Tell() (proved, missing []string) {
	b := s.Provenance.Build
	where := "nowhere yet: it was not applied"
	switch b.Internal.Change.Target {
	case carrel.TargetTree:
		where = "into the working tree"
	case carrel.TargetBranch:
		where = fmt.Sprintf("onto branch %q", b.Internal.Change.Branch)
	}
	yes := func(format string, args ...any) { proved = append(proved, fmt.Sprintf(format, args...)) }
	yes("agent %q made the change %s; it went %s", b.Internal.Agent.Name, onBase(b.External.Target), where)
	yes("walls: tier %s, enforced: %s; policy %s", b.Internal.Sandbox.Tier, controlNames(EnforcedControls(b.Internal.Sandbox.Controls)), b.Internal.Sandbox.Policy.Short())
	for _, a := range b.Internal.Approvals {
		yes("%q approved exactly this change at %s", a.By, a.Time.Format(time.RFC3339))
	}
	if len(b.Internal.Approvals) == 0 {
		missing = append(missing, "that a person approved: policy allowed the change by itself, or it was not applied")
	}
	if !b.Internal.Sandbox.Complete {
		missing = append(missing, "that the trace is complete: "+b.Internal.Sandbox.Reason)
	}
	return proved, append(missing, fmt.Sprintf("a SLSA level above %s. %s", b.Internal.Level.Level, b.Internal.Level.Why))
}

func controlNames(list []carrel.Control) string {
	if len(list) == 0 {
		return "none"
	}
	var out []string
	for _, c := range list {
		out = append(out, string(c))
	}
	return strings.Join(out, ", ")
}
