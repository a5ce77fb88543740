package desk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// root is the desk's new root while it is built.
type root struct {
	fd  int
	own map[uint64]bool // devices of the tmpfs that this desk made
	// writable are targets below which the agent may write.
	writable []string
	tmpSize  int64
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
func newRoot(tmpSize int64) (*root, error) {
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
	r := &root{fd: fd, own: map[uint64]bool{}, tmpSize: tmpSize}
	return r, failed("making the root", r.adopt(fd))
}

// adopt notes that the file system of fd is the desk's own, so that mount
// points may be made on it.
func (r *root) adopt(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	r.own[st.Dev] = true
	return nil
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
		return fmt.Errorf("%s does not exist, and making it would change the host: %w", target, unix.ENOENT)
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
	if err := r.adopt(fd); err != nil {
		return err
	}
	return r.place(fd, target)
}

// mount carries out one mount of the plan; tree is its opened tree.
func (r *root) mount(m *Mount, tree int) error {
	switch m.Kind {
	case Bind, Overlay:
		defer unix.Close(tree)
		if m.Writable || m.Kind == Overlay {
			r.writable = append(r.writable, m.Target)
		}
		return r.place(tree, m.Target)
	case Tmpfs:
		r.writable = append(r.writable, m.Target)
		attrs := 0
		if m.NoExec {
			attrs = unix.MOUNT_ATTR_NOEXEC
		}
		return r.tmpfs(m.Target, orMode(m.Mode, 0o755), m.Size, attrs)
	case File:
		return r.file(m)
	case Dir:
		return r.dir(m.Target, orMode(m.Mode, 0o755))
	case Symlink:
		return r.symlink(m.Source, m.Target)
	case Same:
		return r.same(m.Source, m.Target)
	}
	return fmt.Errorf("unknown kind of mount %d", m.Kind)
}

func orMode(mode, def uint32) uint32 {
	if mode == 0 {
		return def
	}
	return mode
}

func (r *root) dir(target string, mode uint32) error {
	fd, err := r.point(target, true)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || !r.own[st.Dev] {
		return err // it exists on what was mounted: nothing to make
	}
	return unix.Chmod(fdPath(fd), mode)
}

func (r *root) symlink(source, target string) error {
	return r.create(target, func(parent int, name string) error {
		err := unix.Symlinkat(source, parent, name)
		if errors.Is(err, unix.EEXIST) {
			return nil // the first mount to claim a name keeps it
		}
		return err
	})
}

// same shows what is mounted at source at target too. It is one mount twice:
// two overlays of one upper layer would not see each other's changes.
func (r *root) same(source, target string) error {
	at, err := r.lookup(source)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	tree, err := cloneTree(at, "")
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	for _, w := range r.writable {
		if source == w || strings.HasPrefix(source, w+"/") {
			r.writable = append(r.writable, target)
			break
		}
	}
	return r.place(tree, target)
}

// staged is where the content of a file lies until it is mounted.
const staged = ".carrel-file"

// file shows content at a path, also over a file that is mounted there
// already. It is a read-only mount of its own: nobody inside can replace it.
func (r *root) file(m *Mount) error {
	if m.Optional {
		if fd, err := r.lookup(m.Target); err != nil {
			return nil //nolint:nilerr // what does not exist needs no cover
		} else {
			unix.Close(fd)
		}
	}
	mode := orMode(m.Mode, 0o444)
	fd, err := unix.Openat(r.fd, staged, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, mode)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), staged)
	_, err = f.WriteString(m.Content)
	err = errors.Join(err, f.Chmod(fs.FileMode(mode&0o777)), f.Close())
	if err != nil {
		return err
	}
	tree, err := cloneTree(r.fd, staged)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	if err := protect(tree, &Mount{}, -1); err != nil {
		return err
	}
	return errors.Join(r.place(tree, m.Target), unix.Unlinkat(r.fd, staged, 0))
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
