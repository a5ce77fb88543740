package desk

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// root is the desk's new root while it is built.
type root struct {
	fd     int
	number uint64          // the device of the root itself
	own    map[uint64]bool // devices of the tmpfs that this desk made
	// writable are targets below which the agent may write.
	writable []string
	tmpSize  int64 // of a tmpfs that names none
}

const (
	rootSize = 64 << 20 // the root holds mount points and a few small files
	// An inode takes memory that the size does not count.
	minInodes     = 1 << 14
	bytesPerInode = 1 << 11
	ownFlags      = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
)

// newRoot mounts an empty root over the host's. Absolute paths still lead to
// the host until pivot.
func newRoot() (*root, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, failed("leaving the host's mount events", err)
	}
	fd, err := makeFS("tmpfs", ownFlags, [2]string{"source", "carrel"}, [2]string{"mode", "0755"}, [2]string{"size", strconv.Itoa(rootSize)})
	if err != nil {
		return nil, failed("making the root", err)
	}
	if err := attach(fd, unix.AT_FDCWD, "/"); err != nil {
		return nil, failed("making the root", err)
	}
	r := &root{fd: fd, own: map[uint64]bool{}}
	r.number, err = r.adopt(fd)
	return r, failed("making the root", err)
}

// adopt notes that the file system of fd is the desk's own, so that mount
// points may be made on it, and returns its device.
func (r *root) adopt(fd int) (dev uint64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, err
	}
	r.own[st.Dev] = true
	return st.Dev, nil
}

func attach(tree, dir int, target string) error {
	flags := unix.MOVE_MOUNT_F_EMPTY_PATH
	if target == "" {
		flags |= unix.MOVE_MOUNT_T_EMPTY_PATH
	}
	return unix.MoveMount(tree, "", dir, target, flags)
}

// lookup resolves target as a process on the desk would, links included.
func (r *root) lookup(target string) (int, error) {
	return unix.Openat2(r.fd, "./"+strings.TrimPrefix(target, "/"), &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
}

// point returns the place to mount on at target; what is missing of it is
// made on the desk's own file systems, never on the host's.
func (r *root) point(target string, dir bool) (int, error) {
	fd, err := r.lookup(target)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	err = r.create(target, func(parent int, name string) error {
		if dir {
			return unix.Mkdirat(parent, name, 0o755)
		}
		f, err := unix.Openat(parent, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o444)
		if err == nil {
			unix.Close(f)
		}
		return err
	})
	if err != nil {
		return -1, err
	}
	return r.lookup(target)
}

// create calls make with the parent of target, which it makes if need be.
func (r *root) create(target string, make func(parent int, name string) error) error {
	if target == "/" {
		return errors.New("there is a root already")
	}
	parent, err := r.point(path.Dir(target), true)
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	var st unix.Stat_t
	if err := unix.Fstat(parent, &st); err != nil {
		return err
	}
	if !r.own[st.Dev] {
		return fmt.Errorf("%s is not at the desk, where an earlier run may have removed it, and making it would change the host: leave out what names it, such as --hide, or begin with --fresh: %w", target, unix.ENOENT)
	}
	return make(parent, path.Base(target))
}

// place attaches a tree at target.
func (r *root) place(tree int, target string) error {
	var st unix.Stat_t
	if err := unix.Fstat(tree, &st); err != nil {
		return err
	}
	at, err := r.point(target, st.Mode&unix.S_IFMT == unix.S_IFDIR)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return attach(tree, at, "")
}

// tmpfs makes a file system in memory at target.
func (r *root) tmpfs(target string, mode uint32, size int64, attrs int) error {
	if size == 0 {
		size = r.tmpSize
	}
	fd, err := makeFS("tmpfs", attrs|ownFlags, [2]string{"source", "carrel"},
		[2]string{"mode", "0" + strconv.FormatUint(uint64(mode), 8)}, [2]string{"size", strconv.FormatInt(size, 10)},
		[2]string{"nr_inodes", strconv.FormatInt(max(minInodes, size/bytesPerInode), 10)})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := r.adopt(fd); err != nil {
		return err
	}
	return r.place(fd, target)
}

// pivot makes r the root and lets go of the host's.
func (r *root) pivot() error {
	ro := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(r.fd, "", unix.AT_EMPTY_PATH, &ro); err != nil {
		return failed("closing the root", err)
	}
	if err := unix.Fchdir(r.fd); err != nil {
		return failed("entering the root", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return failed("entering the root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return failed("letting go of the host's root", err)
	}
	return failed("entering the root", errors.Join(unix.Chdir("/"), unix.Close(r.fd)))
}
