package workspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/carrel-dev/carrel"
	"golang.org/x/sys/unix"
)

// trash takes a tree out of the way at once; Prune deletes it, so that nobody
// waits for that.
func (s *Seat) trash(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	// Moving a directory writes to it (its ".."), whatever mode it was left in.
	err := os.Chmod(dir, 0o700)
	bin := filepath.Join(s.ws.opts.State, "trash")
	if err == nil {
		err = os.MkdirAll(bin, 0o700)
	}
	if err == nil {
		err = os.Rename(dir, filepath.Join(bin, string(carrel.NewDeskID())))
	}
	if err != nil {
		return fmt.Errorf("clearing %s: %w", dir, err)
	}
	return nil
}

// hoistDepth is how far removeTree descends before it moves what is deeper to
// the top: no tree is deep enough to exhaust descriptors.
const hoistDepth = 200

// removeTree deletes a tree that an enemy made: directories of any mode and
// any depth, links never followed.
func removeTree(dir string) error {
	parent, err := openRoot(filepath.Dir(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	r := remover{top: parent}
	if err := r.removeAll(parent, filepath.Base(dir)); err != nil {
		return fmt.Errorf("deleting %s: %w", dir, err)
	}
	return nil
}

type remover struct {
	top     int
	hoisted []string
	n       int
}

// removeAll deletes name in dir, and what was hoisted on the way.
func (r *remover) removeAll(dir int, name string) error {
	err := r.remove(dir, name, 0)
	for err == nil && len(r.hoisted) > 0 {
		next := r.hoisted[0]
		r.hoisted = r.hoisted[1:]
		err = r.remove(r.top, next, 0)
	}
	return err
}

func (r *remover) remove(dir int, name string, depth int) error {
	err := unix.Unlinkat(dir, name, 0)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	var st unix.Stat_t
	if serr := statAt(dir, name, &st); serr != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return err
	}
	if st.Mode&0o700 != 0o700 {
		reset, err := unlock(dir, name, &st, 0o700)
		if err != nil {
			return err
		}
		defer reset()
	}
	if depth >= hoistDepth {
		r.n++
		to := fmt.Sprintf(".deep-%d-%d", os.Getpid(), r.n)
		if err := unix.Renameat(dir, name, r.top, to); err != nil {
			return err
		}
		r.hoisted = append(r.hoisted, to)
		return nil
	}
	if err := r.empty(dir, name, depth); err != nil {
		return err
	}
	return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
}

// empty removes what is in a directory, a batch of names at a time.
func (r *remover) empty(dir int, name string, depth int) error {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), strconv.Itoa(fd))
	defer f.Close()
	for {
		names, _ := f.Readdirnames(4096)
		if len(names) == 0 {
			return nil
		}
		for _, child := range names {
			if err := r.remove(fd, child, depth+1); err != nil {
				return err
			}
		}
		if _, err := f.Seek(0, 0); err != nil { // removal moves positions
			return err
		}
	}
}
