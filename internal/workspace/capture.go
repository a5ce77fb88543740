package workspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/workspace/fileaction"
	"github.com/carrel-dev/carrel/internal/workspace/risk"
)

// ChangeVersion is the version of the manifest's format.
const ChangeVersion = 1

// CaptureOptions say who asks for a change, and who decides its files.
type CaptureOptions struct {
	// Decide answers for one file: a write or delete below /workspace. It must
	// be safe for concurrent use. Nil denies everything.
	Decide func(ctx context.Context, a carrel.Action) carrel.Decision
	Run    carrel.RunID
	// Running says that the agent still works.
	Running bool
	Limits  Limits
}

// Limits bound a capture. Zero means the default.
type Limits struct {
	Files     int   // paths of a change; more refuse the capture
	FileBytes int64 // apparent size of one file; larger ones are withheld
	Bytes     int64 // content in all; more refuse the capture
	Depth     int   // directories below each other; what is deeper is withheld
	PathBytes int   // length of a path; what is longer is withheld
}

// Defaults of Limits. A path must still fit into one system call when it is
// applied; a deeper tree than this has no honest use; a file larger than this
// nobody reviews.
const (
	defaultFiles     = 200_000
	defaultFileBytes = 1 << 30
	defaultBytes     = 16 << 30
	defaultDepth     = 128
	defaultPathBytes = 4000
)

func (l Limits) withDefaults() Limits {
	return Limits{
		Files:     cmp.Or(l.Files, defaultFiles),
		FileBytes: cmp.Or(l.FileBytes, defaultFileBytes),
		Bytes:     cmp.Or(l.Bytes, defaultBytes),
		Depth:     cmp.Or(l.Depth, defaultDepth),
		PathBytes: cmp.Or(l.PathBytes, defaultPathBytes),
	}
}

// Capture freezes what the desk would alter in the workspace: contents go to
// the content store first, then the manifest, then the change is listed. A
// change without files is returned but not listed. A change that does the
// same as the desk's pending one keeps its id.
func (s *Seat) Capture(ctx context.Context, opts CaptureOptions) (*carrel.Change, error) {
	if s.lock == nil && !opts.Running {
		return nil, fmt.Errorf("capturing desk %s: %w", s.meta.ID, ErrDeskBusy)
	}
	if s.Replaced() {
		return nil, fmt.Errorf("capturing desk %s: %w (%s)", s.meta.ID, ErrReplaced, s.ws.root)
	}
	c := &carrel.Change{Version: ChangeVersion, ID: carrel.NewChangeID(), Run: opts.Run, Desk: s.meta.ID,
		Workspace: s.meta.Root, Base: s.meta.Base, Taken: time.Now().UTC(), Running: opts.Running,
		Files: []carrel.FileChange{}, Withheld: []carrel.FileChange{}}
	pending, err := s.readPending()
	if err != nil {
		return nil, err
	}
	z := &freezer{store: s.ws.opts.Blobs, limits: opts.Limits.withDefaults(), running: opts.Running, stamp: s.meta.Base.Stamp, pending: pending}
	defer z.abort()
	if err := s.read(ctx, z, opts, c); err != nil {
		return nil, fmt.Errorf("capturing the change at desk %s: %w", s.meta.ID, err)
	}
	if len(z.out) == 0 {
		err = s.ws.retire(s.meta.ID, ChangeSuperseded, "the desk holds no work any more", "")
	} else {
		err = s.publish(ctx, z, c)
	}
	if err != nil || opts.Running {
		return c, err
	}
	return c, s.finish(z)
}

// read fills in the files of c and hands their contents to the store.
func (s *Seat) read(ctx context.Context, z *freezer, opts CaptureOptions, c *carrel.Change) error {
	if err := s.walk(ctx, z); err != nil {
		return err
	}
	slices.SortFunc(z.out, func(a, b frozen) int { return cmp.Compare(a.file.Path, b.file.Path) })
	labelTogether(z.out)
	if err := decide(ctx, z.out, opts); err != nil {
		return err
	}
	for _, f := range z.out {
		if f.withheld != nil || f.file.Decision.Verdict != carrel.Allow && f.file.Decision.Verdict != carrel.Ask {
			c.Withheld = append(c.Withheld, f.file)
		} else {
			c.Files = append(c.Files, f.file)
		}
	}
	c.Risk = risk.Sum(c.Files)
	c.Message = s.message()
	return nil
}

// labelTogether adds the labels that need more than one file to see.
func labelTogether(all []frozen) {
	paths := make([]carrel.Text, len(all))
	for i := range all {
		paths[i] = all[i].file.Path
	}
	for i, label := range risk.Collisions(paths) {
		all[i].file.Labels = append(all[i].file.Labels, label)
	}
}

// decide asks for every file that is not withheld anyway.
func decide(ctx context.Context, all []frozen, opts CaptureOptions) error {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0)) // deciding is computing
	for i := range all {
		f := &all[i]
		if f.withheld != nil {
			continue
		}
		group.Go(func() error {
			f.file.Decision = carrel.Decision{Verdict: carrel.Deny, Reason: "nobody decides here"}
			if opts.Decide != nil {
				f.file.Decision = opts.Decide(ctx, fileaction.Of(opts.Run, f.file))
			}
			return ctx.Err()
		})
	}
	return group.Wait()
}

// publish makes contents and manifest durable, then lists the change as
// pending.
func (s *Seat) publish(ctx context.Context, z *freezer, c *carrel.Change) error {
	digest, err := c.Digest()
	if err != nil {
		return err
	}
	e := ChangeEntry{Version: entryVersion, ID: c.ID, Digest: digest, Run: c.Run, Desk: c.Desk, Workspace: c.Workspace, Taken: c.Taken, State: ChangePending, Changed: c.Taken}
	old, err := s.ws.newest(func(e ChangeEntry) bool { return e.Desk == c.Desk && e.State == ChangePending })
	if err == nil && old.Digest.Equal(digest) {
		c.ID, e.ID, e.Shown = old.ID, old.ID, old.Shown
	} else if err != nil && !errors.Is(err, ErrNoChange) {
		return err
	}
	raw, err := carrel.Canonical(c)
	if err != nil {
		return fmt.Errorf("encoding the manifest of %s: %w", c.ID, err)
	}
	if e.Manifest, err = z.putBytes(raw); err != nil {
		return err
	}
	if err := z.batch.Commit(); err != nil {
		return err
	}
	return s.ws.listChange(ctx, e)
}

// finish notes the finished run's work, so that the next run knows what each
// path of it was based on, and takes out of the layer what is no work: else a
// later edit of the user's would look like one the agent undid.
func (s *Seat) finish(z *freezer) error {
	p := pendingWork{Paths: make(map[carrel.Text]pendingPath, len(z.out))}
	for _, f := range z.out {
		stamp := f.file.Stamp
		if stamp.IsZero() {
			stamp = s.meta.Base.Stamp
		}
		p.Paths[f.file.Path] = pendingPath{Stamp: stamp, Before: f.file.Before, After: f.file.FileState}
	}
	if len(z.same) > 0 || len(z.out) > 0 {
		now, err := fsTime(s.ws.root, s.dir)
		if err != nil {
			return err
		}
		if err := s.shed(&p, z.same, now); err != nil {
			return fmt.Errorf("tidying desk %s: %w", s.meta.ID, err)
		}
	}
	if err := s.writePending(p); err != nil {
		return err
	}
	s.meta.Open = false
	s.save()
	return nil
}
