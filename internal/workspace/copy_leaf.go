package workspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/blob"
)

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
