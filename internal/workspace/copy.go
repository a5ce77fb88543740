package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/blob"
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
	index    copyIndex
	seen     map[string]bool
	limits   CopyLimits
	progress func(files, bytes int64)
	reset    bool // make it what the original is, whatever the agent touched
	files    int64
	bytes    int64
	latest   int64 // largest ctime of a copy, nanoseconds
}

func (s *Seat) syncCopy(ctx context.Context, l *Layer, opts SeatOptions) error {
	index, err := s.readIndex(l)
	if err != nil {
		return err
	}
	c := &copier{seat: s, index: index, seen: make(map[string]bool), limits: opts.Copy, progress: opts.Progress, reset: s.reset}
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
	if err := c.dir(ctx, from, to, ".", 0); err != nil {
		return err
	}
	if err := c.dropVanished(to); err != nil {
		return err
	}
	if err := c.root(from, l.Copy); err != nil {
		return err
	}
	if err := s.writeIndex(l, c.index); err != nil {
		return err
	}
	return waitPast(s.dir, c.latest)
}

// root gives the copy's root the original's mode and remembers it.
func (c *copier) root(from int, dir string) error {
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return err
	}
	if _, known := c.index["."]; known {
		return nil
	}
	if err := giveTo(unix.AT_FDCWD, dir, st.Mode&0o7777, c.seat.meta.UID, c.seat.meta.GID); err != nil {
		return err
	}
	c.index["."] = copied{Lower: versionOf(&st), Mode: st.Mode}
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
		if err := c.entry(ctx, from, to, name, path.Join(rel, name), depth); err != nil {
			return err
		}
	}
	if c.reset {
		return c.dropForeign(to, names, rel)
	}
	return nil
}

// dropForeign removes what the original does not have.
func (c *copier) dropForeign(to int, names []string, rel string) error {
	have, err := readNames(to, 1<<30)
	if err != nil {
		return fmt.Errorf("%s: %w", rel, err)
	}
	for _, name := range have {
		if _, ok := slices.BinarySearch(names, name); ok {
			continue
		}
		delete(c.index, path.Join(rel, name))
		if err := (&remover{top: to}).removeAll(to, name); err != nil {
			return fmt.Errorf("%s: %w", path.Join(rel, name), err)
		}
	}
	return nil
}

func (c *copier) entry(ctx context.Context, from, to int, name, rel string, depth int) error {
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

// leaf copies what is no directory. Special files are left out: a copy of a
// socket or a FIFO connects to nobody.
func (c *copier) leaf(from, to int, name, rel string, orig *unix.Stat_t) error {
	if err := c.count(orig, rel); err != nil {
		return err
	}
	switch orig.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		target, err := readlinkAt(from, name)
		if err == nil {
			err = unix.Symlinkat(target, to, name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
	case unix.S_IFREG:
		if err := c.file(from, to, name, orig); err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
	default:
		return nil
	}
	return c.finish(to, name, rel, orig)
}

// file copies content until the original held still meanwhile.
func (c *copier) file(from, to int, name string, orig *unix.Stat_t) error {
	for range settleTries {
		src, done, err := openFile(from, name, orig, false)
		if errors.Is(err, fs.ErrPermission) {
			return nil // the agent runs as the same user and could not read it either
		}
		if err != nil {
			return err
		}
		fd, err := unix.Openat(to, name, unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err == nil {
			dst := os.NewFile(uintptr(fd), name)
			err = blob.CopyContent(dst, src)
			dst.Close()
		}
		src.Close()
		done()
		var now unix.Stat_t
		if err == nil {
			err = statAt(from, name, &now)
		}
		if err != nil {
			return err
		}
		if versionOf(&now) == versionOf(orig) {
			return nil
		}
		*orig = now
	}
	return fmt.Errorf("%w: it keeps being written to", errMoved)
}

// finish gives a copy mode, owner and times of the original and notes it.
func (c *copier) finish(to int, name, rel string, orig *unix.Stat_t) error {
	uid, gid := c.seat.meta.UID, c.seat.meta.GID
	var err error
	if orig.Mode&unix.S_IFMT != unix.S_IFLNK {
		err = giveTo(to, name, orig.Mode&0o7777, uid, gid)
	} else if uid != os.Getuid() {
		err = unix.Fchownat(to, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil {
		err = unix.UtimesNanoAt(to, name, []unix.Timespec{orig.Atim, orig.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
	}
	var st unix.Stat_t
	if err == nil {
		err = statAt(to, name, &st)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", rel, err)
	}
	c.latest = max(c.latest, st.Ctim.Nano())
	c.index[rel] = copied{Lower: versionOf(orig), Copy: versionOf(&st), Mode: orig.Mode, Size: orig.Size}
	return nil
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

// dropVanished removes copies of what the user deleted, if the agent did not
// touch them.
func (c *copier) dropVanished(to int) error {
	for _, rel := range slices.Backward(slices.Sorted(maps.Keys(c.index))) { // children first
		known := c.index[rel]
		if rel == "." || c.seen[rel] {
			continue
		}
		var st unix.Stat_t
		if statBeneath(to, rel, &st) != nil {
			continue
		}
		dir, err := openBeneath(to, path.Dir(rel), unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			continue
		}
		switch {
		case st.Mode&unix.S_IFMT == unix.S_IFDIR:
			err = unix.Unlinkat(dir, path.Base(rel), unix.AT_REMOVEDIR) // stays while it holds the agent's files
		case versionOf(&st) == known.Copy:
			err = unix.Unlinkat(dir, path.Base(rel), 0)
		default:
			err = unix.EEXIST
		}
		unix.Close(dir)
		if err == nil {
			delete(c.index, rel)
		}
	}
	return nil
}

// waitPast waits until the file system's clock has moved past ctime, so that
// nothing the agent does can carry the same one.
func waitPast(dir string, ctime int64) error {
	for range 100 {
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
