//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/gate"
	"github.com/carrel-dev/carrel/internal/workspace"
)

// Prune removes desks and contents that nobody needs any more.
func (e *Engine) Prune(ctx context.Context, opts PruneOptions) error {
	unlock, err := e.lockContents(true)
	if err != nil {
		return err
	}
	defer unlock()
	inUse, damaged := e.policyInUse()
	older := max(opts.Older, 1) // in a retention 0 keeps all
	keep := workspace.Retention{Desks: older, Changes: older, Trash: time.Second}
	// What was removed is said even if something else could not be.
	var done workspace.Pruned
	if opts.Unapplied {
		keep.Work = older
		done, err = e.pruneWork(ctx, keep, inUse)
	} else {
		done, err = workspace.Prune(ctx, e.host.Paths.State, e.blobs, keep, inUse)
	}
	policies, perr := e.prunePolicies(ctx, older)
	err = errors.Join(err, damaged, perr)
	if opts.JSON {
		return errors.Join(err, e.printJSON(map[string]any{"desks": done.Desks, "changes": done.Changes, "contents": done.Contents, "policies": policies, "bytes": done.Bytes}))
	}
	fmt.Fprintf(e.host.Stdout, "removed %s and %s of contents\n", plural(done.Desks, "desk"), bytesText(done.Bytes))
	if policies > 0 {
		fmt.Fprintf(e.host.Stdout, "  and %s of policies that nothing refers to any more\n", plural(policies, "text"))
	}
	return err
}

// pruneWork takes unapplied work away on the one road, as discard does.
func (e *Engine) pruneWork(ctx context.Context, keep workspace.Retention, inUse func(carrel.Digest) bool) (done workspace.Pruned, err error) {
	op, err := e.operator(ctx, "")
	if err != nil {
		return done, err
	}
	_, err = op.gate.Do(ctx, workspace.PruneWorkAction(keep.Work), func(ctx context.Context, g gate.Grant) (carrel.Outcome, error) {
		done, err = workspace.PruneWork(ctx, g, e.host.Paths.State, e.blobs, keep, inUse)
		return carrel.Outcome{Counts: map[string]int64{"desks": int64(done.Desks), "changes": int64(done.Changes)}}, err
	})
	return done, err
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
	inUse, _ := e.policyInUse()
	_, _ = workspace.Prune(ctx, e.host.Paths.State, e.blobs, workspace.Retention{Desks: keepFor, Changes: keepFor, Trash: time.Minute}, inUse)
	_, _ = e.prunePolicies(ctx, keepFor)
}

// policyInUse knows the policies that kept runs were decided by. If a run
// cannot be read every content counts as in use, and the error names the run.
func (e *Engine) policyInUse() (func(carrel.Digest) bool, error) {
	ids, err := e.listRuns()
	used := map[carrel.Digest]bool{}
	for _, id := range ids {
		r, rerr := e.loadRun(id)
		if rerr != nil {
			err = errors.Join(err, fmt.Errorf("%w: which policy it needs cannot be told, and no contents are removed; if you do not need the run any more, delete %s", rerr, e.runFile(id)))
			continue
		}
		for _, f := range r.PolicyFiles {
			used[f.Digest] = true
		}
	}
	broken := err != nil
	return func(d carrel.Digest) bool { return broken || used[d] }, err
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
