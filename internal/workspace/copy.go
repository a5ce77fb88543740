package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// Defaults of CopyLimits: a copy is a fallback, and must not fill the disk of
// somebody who does not expect one.
const (
	defaultCopyFiles = 500_000
	defaultCopyBytes = 8 << 30
	maxCopyDepth     = 512
)

// copier brings a private copy up to date with its original. What the agent
// touched stays as it is.
type copier struct {
	seat     *Seat
	root     string          // of the layer, in the workspace
	holes    map[string]bool // other layers lie there
	index    copyIndex
	seen     map[string]bool
	limits   CopyLimits
	progress func(files, bytes int64)
	reset    bool // make it what the original is, whatever the agent touched
	files    int64
	bytes    int64
	latest   int64 // largest ctime of a copy, nanoseconds
	skipped  []string
}

func (s *Seat) syncCopy(ctx context.Context, l *Layer, opts SeatOptions) error {
	index, err := s.readIndex(l)
	if err != nil {
		return err
	}
	c := &copier{seat: s, root: l.root(), holes: s.holes(), index: index, seen: make(map[string]bool), limits: opts.Copy, progress: opts.Progress, reset: s.reset}
	if c.limits.Files == 0 {
		c.limits.Files = defaultCopyFiles
	}
	if c.limits.Bytes == 0 {
		c.limits.Bytes = defaultCopyBytes
	}
	from, err := openRoot(l.Lower)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	if err := unix.Mkdir(l.Copy, 0o700); err != nil && err != unix.EEXIST {
		return err
	}
	to, err := openRoot(l.Copy)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	if err := c.dir(ctx, from, to, c.root, 0); err != nil {
		return err
	}
	if err := c.dropVanished(to, l); err != nil {
		return err
	}
	if err := c.top(from, l.Copy); err != nil {
		return err
	}
	if n := len(c.skipped); n > 0 {
		s.note(fmt.Sprintf("%d paths kept changing while they were copied and are not at the desk: %q", n, c.skipped[:min(n, maxNamed)]))
	}
	if err := s.writeIndex(l, c.index); err != nil {
		return err
	}
	return waitPast(s.dir, c.latest)
}

// top gives the copy's root the original's mode and remembers it.
func (c *copier) top(from int, dir string) error {
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return err
	}
	if _, known := c.index[c.root]; known {
		return nil
	}
	if err := giveTo(unix.AT_FDCWD, dir, st.Mode&0o7777, c.seat.meta.UID, c.seat.meta.GID); err != nil {
		return err
	}
	c.index[c.root] = copied{Lower: versionOf(&st), Mode: st.Mode}
	return nil
}

func (c *copier) dir(ctx context.Context, from, to int, rel string, depth int) error {
	if depth > maxCopyDepth {
		return fmt.Errorf("%s lies more than %d directories deep: %w", rel, maxCopyDepth, ErrRefused)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	names, err := readNames(from, int(c.limits.Files))
	if errors.Is(err, errTooMany) {
		return c.tooMuch(rel)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", rel, err)
	}
	for _, name := range names {
		err := c.entry(ctx, from, to, name, path.Join(rel, name), depth)
		if isMoved(err) {
			err = c.skip(to, name, path.Join(rel, name))
		}
		if err != nil {
			return err
		}
	}
	if c.reset {
		return c.dropForeign(to, names, rel)
	}
	return nil
}

// skip leaves out what does not hold still: the agent works without it.
func (c *copier) skip(to int, name, rel string) error {
	c.skipped = append(c.skipped, rel)
	delete(c.index, rel)
	if err := (&remover{top: to}).removeAll(to, name); err != nil {
		return fmt.Errorf("%s: %w", rel, err)
	}
	return nil
}

func (c *copier) entry(ctx context.Context, from, to int, name, rel string, depth int) error {
	if c.holes[rel] {
		return nil
	}
	var orig, have unix.Stat_t
	if err := statAt(from, name, &orig); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("%s: %w", rel, err)
	}
	c.seen[rel] = true
	known, indexed := c.index[rel]
	haveErr := statAt(to, name, &have)
	kind := orig.Mode & unix.S_IFMT
	if kind == unix.S_IFDIR && (haveErr == nil && have.Mode&unix.S_IFMT == unix.S_IFDIR || !indexed && haveErr != nil) {
		return c.subdir(ctx, from, to, name, rel, &orig, haveErr != nil, depth)
	}
	switch {
	case c.reset && (haveErr != nil || !indexed || versionOf(&have) != known.Copy):
		indexed = haveErr == nil // whatever it is, it is replaced
	case indexed && (haveErr != nil || versionOf(&have) != known.Copy):
		return nil // the agent deleted or altered it
	case indexed && versionOf(&orig) == known.Lower:
		return nil // up to date
	case !indexed && haveErr == nil:
		return nil // the agent made something of this name
	}
	if indexed {
		if err := (&remover{top: to}).removeAll(to, name); err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
		delete(c.index, rel)
	}
	if kind == unix.S_IFDIR {
		return c.subdir(ctx, from, to, name, rel, &orig, true, depth)
	}
	return c.leaf(from, to, name, rel, &orig)
}

func (c *copier) subdir(ctx context.Context, from, to int, name, rel string, orig *unix.Stat_t, fresh bool, depth int) error {
	if fresh {
		if err := unix.Mkdirat(to, name, 0o700); err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
		if err := c.count(orig, rel); err != nil {
			return err
		}
	}
	a, err := openBeneath(from, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrPermission) { // the agent runs as the same user and could not enter it either
		if !fresh {
			return nil
		}
		return c.finish(to, name, rel, orig)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", rel, err)
	}
	defer unix.Close(a)
	var st unix.Stat_t
	if err := statAt(to, name, &st); err != nil {
		return fmt.Errorf("%s: %w", rel, err)
	}
	b, done, err := openOurDir(to, name, &st)
	if err != nil {
		return fmt.Errorf("%s: %w", rel, err)
	}
	err = c.dir(ctx, a, b, rel, depth+1)
	done()
	if err != nil || !fresh {
		return err
	}
	return c.finish(to, name, rel, orig)
}

func (c *copier) count(st *unix.Stat_t, rel string) error {
	c.files++
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		c.bytes += st.Blocks * 512
	}
	if c.files > c.limits.Files || c.bytes > c.limits.Bytes {
		return c.tooMuch(rel)
	}
	if c.progress != nil && c.files%512 == 0 {
		c.progress(c.files, c.bytes)
	}
	return nil
}

func (c *copier) tooMuch(rel string) error {
	return fmt.Errorf("at %s the copy exceeds %d files or %d MiB; keep the workspace on a file system that allows overlays (carrel doctor says which): %w",
		rel, c.limits.Files, c.limits.Bytes>>20, ErrRefused)
}

// maxGrain is longer than any file system's clock stands still: the coarsest
// counts in steps of two seconds.
const maxGrain = 3 * time.Second

// waitPast waits until the file system's clock has moved past ctime, so that
// nothing the agent does can carry the same one.
func waitPast(dir string, ctime int64) error {
	for end := time.Now().Add(maxGrain); time.Now().Before(end); {
		f, err := os.CreateTemp(dir, ".stamp-")
		if err != nil {
			return fmt.Errorf("reading the file system's clock: %w", err)
		}
		now, err := ctimeOf(int(f.Fd()))
		f.Close()
		os.Remove(f.Name())
		if err != nil {
			return err
		}
		if now.UnixNano() > ctime {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("the file system's clock stands still")
}
