package workspace

import (
	"context"
	"fmt"
	"io"

	"github.com/carrel-dev/carrel"
	"github.com/carrel-dev/carrel/internal/git"
	"golang.org/x/sys/unix"
)

func (p *applyPlan) conflict(f *carrel.FileChange, now unix.Stat_t, why string) {
	ours := carrel.FileState{Kind: kindOf(&now)}
	if ours.Kind != carrel.FileNone {
		ours.Mode, ours.Size = now.Mode&0o7777, now.Size
	}
	was := f.Before.Kind == carrel.FileRegular || f.Before.Kind == carrel.FileLink
	p.conflicts = append(p.conflicts, Conflict{Path: f.Path, Reason: why, Ours: ours, Theirs: f.FileState, untracked: was && !isBlob(p.base[string(f.Path)])})
}

// maxMerge bounds the contents that are kept to show a merge.
const maxMerge = 4 << 20

// keepConflicts puts both sides of three-way conflicts into the content store.
func (p *applyPlan) keepConflicts(ctx context.Context) error {
	batch, err := p.opts.Blobs.Batch()
	if err != nil {
		return err
	}
	defer batch.Abort()
	for i := range p.conflicts {
		c := &p.conflicts[i]
		entry, tracked := p.base[string(c.Path)]
		if !tracked || (entry.Mode != git.ModeFile && entry.Mode != git.ModeExecutable) || i >= maxThreeWay {
			continue
		}
		if err := p.keepBase(ctx, c, entry, batch.PutBytes); err != nil {
			return fmt.Errorf("keeping both sides of %q: %w", c.Path, err)
		}
	}
	return batch.Commit()
}

// maxThreeWay bounds the conflicts whose contents are kept; further ones are
// only named.
const maxThreeWay = 200

func (p *applyPlan) keepBase(ctx context.Context, c *Conflict, entry git.Entry, put func([]byte) (carrel.Digest, error)) error {
	content, err := p.opts.Repo.ReadBlob(ctx, entry.Object)
	if err != nil || len(content) > maxMerge {
		return err
	}
	c.Base = carrel.FileState{Kind: carrel.FileRegular, Mode: 0o644, Size: int64(len(content))}
	if entry.Mode == git.ModeExecutable {
		c.Base.Mode = 0o755
	}
	if c.Base.Digest, err = put(content); err != nil {
		return err
	}
	if c.Ours.Kind == carrel.FileRegular && c.Ours.Size <= maxMerge {
		ours, err := p.read(string(c.Path))
		if err != nil {
			return err
		}
		c.Ours.Size = int64(len(ours))
		if c.Ours.Digest, err = put(ours); err != nil {
			return err
		}
	}
	c.ThreeWay = c.Ours.Digest != "" || c.Ours.Kind == carrel.FileNone
	return nil
}

// read returns a small file of the tree.
func (p *applyPlan) read(rel string) ([]byte, error) {
	dir, name, err := p.tree.parent(rel)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := statAt(dir, name, &st); err != nil {
		return nil, err
	}
	f, err := openPlain(dir, name, &st)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxMerge))
}
