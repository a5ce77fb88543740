//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/carrel-dev/carrel/internal/sandbox"
	"github.com/carrel-dev/carrel/internal/terminal"
)

// passSignals ends the desk's program when the user ends the run. The tier
// ends everything else after the time of grace.
func (v *visit) passSignals(ctx context.Context, desk sandbox.Desk) (stop func()) {
	done := make(chan struct{})
	go func() { // ends with stop
		select {
		case <-ctx.Done():
			_ = desk.Signal(signalOf(ctx)) // it may be gone already
		case <-done:
		}
	}()
	return func() { close(done) }
}

// signalOf is the signal that ended ctx. The end of the terminal reaches the
// desk as such; what has no signal of its own ends it as a request would.
func signalOf(ctx context.Context) syscall.Signal {
	var i *Interrupted
	if errors.As(context.Cause(ctx), &i) {
		if s, ok := i.Signal.(syscall.Signal); ok {
			return s
		}
	}
	return syscall.SIGTERM
}

// copyProgress shows that a copy of the tree is being made, where staging
// needs one.
func (v *visit) copyProgress() func(files, bytes int64) {
	if !v.interactive() {
		return nil
	}
	progress := terminal.NewProgress(v.e.host.Stderr)
	return func(files, bytes int64) {
		progress.Show(fmt.Sprintf("copying the workspace: %d files, %d MiB", files, bytes>>20))
	}
}
