//go:build linux

package engine

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// Prune removes desks and contents that nobody needs any more.
func (e *Engine) Prune(ctx context.Context, opts PruneOptions) error {
	unlock, err := e.lockContents(true)
	if err != nil {
		return err
	}
	defer unlock()
	inUse, err := e.policyInUse()
	if err != nil {
		return err
	}
	older := max(opts.Older, 1) // in a retention 0 keeps all
	keep := workspace.Retention{Desks: older, Changes: older, Trash: time.Second}
	if opts.Unapplied {
		keep.Work = older
	}
	done, err := workspace.Prune(ctx, e.host.Paths.State, e.blobs, keep, inUse)
	if err != nil {
		return err
	}
	if opts.JSON {
		return e.printJSON(map[string]any{"desks": done.Desks, "changes": done.Changes, "contents": done.Contents, "bytes": done.Bytes})
	}
	fmt.Fprintf(e.host.Stdout, "removed %s and %s of contents\n", plural(done.Desks, "desk"), bytesText(done.Bytes))
	return nil
}

const (
	// keepFor is how long what nobody needs any more is kept unasked: desks
	// without work, changes that were applied or discarded.
	keepFor = 30 * 24 * time.Hour
	// pruneEvery is how often a run looks for such things when it has ended.
	pruneEvery = 24 * time.Hour
)

// pruneNowAndThen bounds what the state takes. Unapplied work is never touched.
// What fails here is tried again, and `runs prune` says why.
func (e *Engine) pruneNowAndThen(ctx context.Context) {
	mark := e.state("pruned")
	info, err := os.Stat(mark)
	if err == nil && time.Since(info.ModTime()) < pruneEvery {
		return
	}
	if os.WriteFile(mark, nil, 0o600) != nil || os.Chtimes(mark, time.Time{}, time.Now()) != nil || err != nil {
		return // a first run has nothing to remove
	}
	unlock, err := e.flockContents(syscall.LOCK_EX | syscall.LOCK_NB)
	if err != nil {
		return
	}
	defer unlock()
	if inUse, err := e.policyInUse(); err == nil {
		_, _ = workspace.Prune(ctx, e.host.Paths.State, e.blobs, workspace.Retention{Desks: keepFor, Changes: keepFor, Trash: time.Minute}, inUse)
	}
}

// policyInUse knows the policies that kept runs were decided by.
func (e *Engine) policyInUse() (func(carrel.Digest) bool, error) {
	ids, err := e.listRuns()
	if err != nil {
		return nil, err
	}
	used := map[carrel.Digest]bool{}
	for _, id := range ids {
		r, err := e.loadRun(id)
		if err != nil {
			return nil, err
		}
		for _, f := range r.PolicyFiles {
			used[f.Digest] = true
		}
	}
	return func(d carrel.Digest) bool { return used[d] }, nil
}

// bytesText renders a size for people, in powers of 1024.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	value, i := float64(n), 0
	for value >= 1024 && i < len(units)-1 {
		value, i = value/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, units[i])
}
