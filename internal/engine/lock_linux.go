package engine

import (
	"fmt"
	"os"
	"syscall"
)

// lockContents keeps captures, which add contents, apart from pruning, which
// removes those that nobody names yet. It waits.
func (e *Engine) lockContents(exclusive bool) (unlock func(), err error) {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	return e.flockContents(how)
}

// flockContents locks as syscall.Flock does.
func (e *Engine) flockContents(how int) (unlock func(), err error) {
	f, err := os.OpenFile(e.state("contents.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the contents: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking the contents: %w", err)
	}
	return func() { f.Close() }, nil
}
