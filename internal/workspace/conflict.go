package workspace

import (
	"fmt"
	"slices"
	"strings"

	"github.com/carrel-dev/carrel"
)

// Conflict is a path that cannot be applied because the tree is not what the
// change was made from.
type Conflict struct {
	Path   carrel.Text `json:"path"`
	Reason string      `json:"reason"`
	// Ours is what the tree has now, Theirs what the change wants. If
	// ThreeWay, Base is what the base commit has, and the contents of Base and
	// Ours are in the content store, so that a merge can be shown.
	ThreeWay bool             `json:"three_way"`
	Base     carrel.FileState `json:"base"`
	Ours     carrel.FileState `json:"ours"`
	Theirs   carrel.FileState `json:"theirs"`
	// untracked: the base commit has no such file, and the agent began with
	// one, so that a branch would refuse it as well.
	untracked bool
}

// ConflictError is an apply that was refused before anything was written.
type ConflictError struct {
	Change    carrel.ChangeID
	Conflicts []Conflict
	Branch    bool // it was to go to a branch
	Plain     bool // the workspace has no branches
}

// maxNamed bounds the paths that an error names one by one.
const maxNamed = 5

// Error names the first few conflicts and what to do.
func (e *ConflictError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of the files of %s cannot be applied, so nothing was:", len(e.Conflicts), e.Change)
	for i, c := range e.Conflicts {
		if i == maxNamed {
			fmt.Fprintf(&b, "\n  and %d more", len(e.Conflicts)-maxNamed)
			break
		}
		fmt.Fprintf(&b, "\n  %q: %s", c.Path, c.Reason)
	}
	if e.Branch {
		b.WriteString("\nno branch was made")
		return b.String()
	}
	b.WriteString("\nyour files are as you left them; " + e.wayOn())
	return b.String()
}

// wayOn is a step that works for every conflict: a file that has become what
// the change wants is none any more.
func (e *ConflictError) wayOn() string {
	way := fmt.Sprintf("move yours aside (mv FILE FILE.mine), put the agent's there unless the agent deleted it (carrel review %s --content FILE >FILE), apply again, and bring yours back", e.Change)
	if e.Plain || slices.ContainsFunc(e.Conflicts, func(c Conflict) bool { return c.untracked }) {
		return way
	}
	return "apply to a branch (carrel apply --branch NAME) and merge it; or " + way
}
