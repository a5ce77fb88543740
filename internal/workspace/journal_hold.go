package workspace

import (
	"errors"
	"os"
)

// TreeApply is an apply to the tree whose steps are all made and that has not
// been ended: it is under way, or its process died, or its result could not be
// recorded. It holds the workspace's lock of applies.
type TreeApply struct {
	journal *applyJournal
	tree    *applyTree
	lock    *os.File
}

// Recorded takes out of the tree what the apply replaced there: it is not taken
// back any more. What cannot be removed now is by the next command.
func (a *TreeApply) Recorded() { _ = a.journal.clear(a.tree) }

// End forgets the apply: it is recorded, and all that follows from it is done.
func (a *TreeApply) End() error {
	_ = a.journal.tidy(a.tree, nil) // all is applied; what is left is tidied up by the next command
	return a.Release()
}

// Release leaves the apply to the next command, which finishes it if the log
// has it as done, and else takes it back.
func (a *TreeApply) Release() error {
	a.journal.closeWork()
	a.tree.Close()
	return errors.Join(a.lock.Close())
}
