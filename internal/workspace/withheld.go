package workspace

import (
	"fmt"
)

// unsettled reports a path that stood for something else from one moment to the
// next, and leaves what is in it.
func (w *walk) unsettled(v view, after side, rel string) error {
	before, err := lookBefore(v.before, after.name)
	if err != nil {
		return fmt.Errorf("looking at %s in the tree: %w", rel, err)
	}
	return w.put(&item{rel: rel, after: after, before: before, change: alteration(after, before),
		withheld: &withheld{"unsettled", "it was being replaced while it was read"}})
}

// tooDeep reports a path beyond the limits without entering it.
func (w *walk) tooDeep(v view, after side, rel string) error {
	before, err := lookBefore(v.before, after.name)
	if err != nil {
		return err
	}
	return w.put(&item{rel: rel, after: after, before: before, change: alteration(after, before),
		withheld: &withheld{"too-deep", fmt.Sprintf("its path is longer than %d bytes or more than %d directories deep; what is below it was not read", w.limits.PathBytes, w.limits.Depth)}})
}

// withheld is a reason of the workspace itself to keep a path back.
type withheld struct{ rule, reason string }
