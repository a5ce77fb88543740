package workspace

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Reading beneath a descriptor. Names come from agents: nothing here follows
// a link, leaves the directory it was given or opens what is no regular file
// or directory.

const beneathFlags = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// openRoot opens a directory of our own choice.
func openRoot(dir string) (int, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("opening %s: %w", dir, err)
	}
	return fd, nil
}

// openBeneath opens rel below root; rel may be ".".
func openBeneath(root int, rel string, flags int) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW), Resolve: beneathFlags}
	for {
		fd, err := unix.Openat2(root, rel, &how)
		if err != unix.EAGAIN && err != unix.EINTR { // the tree moved under the lookup: again
			return fd, err
		}
	}
}

// openTheirDir opens a directory of the user's tree, as it is.
func openTheirDir(dir int, name string) (fd int, done func(), err error) {
	fd, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	return fd, func() { unix.Close(fd) }, err
}

// openOurDir opens the directory name in dir, of a private layer. One that
// forbids it is made readable until restore is called, which also closes it.
func openOurDir(dir int, name string, st *unix.Stat_t) (fd int, restore func(), err error) {
	fd, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	searchable := st.Mode&0o500 == 0o500 || os.Geteuid() == 0
	if err == nil && searchable {
		return fd, func() { unix.Close(fd) }, nil
	}
	if err == nil {
		unix.Close(fd)
	} else if err != unix.EACCES {
		return -1, nil, err
	}
	reset, err := unlock(dir, name, st, 0o700)
	if err != nil {
		return -1, nil, err
	}
	fd, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		reset()
		return -1, nil, err
	}
	return fd, func() { reset(); unix.Close(fd) }, nil
}

// openFile opens the regular file name in dir for reading. In a private layer
// one that forbids it is made readable until restore is called. What is not
// the inode st describes, or is not a regular file, is an error.
func openFile(dir int, name string, st *unix.Stat_t, private bool) (f *os.File, restore func(), err error) {
	flags := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	// Looked at before it is opened: opening a device can act.
	var now unix.Stat_t
	if err := unix.Fstatat(dir, name, &now, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, nil, err
	}
	if now.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, nil, errMoved
	}
	fd, err := unix.Openat(dir, name, flags, 0)
	restore = func() {}
	if err == unix.EACCES && private {
		if restore, err = unlock(dir, name, st, 0o400); err != nil {
			return nil, nil, err
		}
		fd, err = unix.Openat(dir, name, flags, 0)
	}
	if err != nil {
		restore()
		return nil, nil, err
	}
	if err := unix.Fstat(fd, &now); err != nil || now.Ino != st.Ino || now.Mode&unix.S_IFMT != unix.S_IFREG {
		restore()
		unix.Close(fd)
		return nil, nil, errors.Join(errMoved, err)
	}
	return os.NewFile(uintptr(fd), name), restore, nil
}

// errMoved means that a name stands for something else than a moment ago.
var errMoved = errors.New("replaced while it was read")

// isMoved reports whether an error comes from a name that stands for something
// else than a moment ago, or for nothing.
func isMoved(err error) bool {
	for _, moved := range []error{errMoved, unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.EINVAL} { // EINVAL: no link any more
		if errors.Is(err, moved) {
			return true
		}
	}
	return false
}

// unlock adds mode bits for the owner to name in dir, which must still be the
// inode st describes, and returns what takes them away again.
func unlock(dir int, name string, st *unix.Stat_t, bits uint32) (reset func(), err error) {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil || now.Ino != st.Ino || now.Mode&unix.S_IFMT == unix.S_IFLNK {
		unix.Close(fd)
		return nil, errors.Join(errMoved, err)
	}
	self := "/proc/self/fd/" + strconv.Itoa(fd)
	mode := now.Mode & 0o7777
	if err := unix.Chmod(self, mode|bits); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return func() {
		_ = unix.Chmod(self, mode)
		unix.Close(fd)
	}, nil
}

// errTooMany means that a directory or tree holds more than was allowed.
var errTooMany = errors.New("too many entries")

// readNames lists a directory, sorted. More than limit names are errTooMany.
func readNames(dir int, limit int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close()
	var names []string
	for {
		part, err := f.Readdirnames(1024)
		names = append(names, part...)
		if len(names) > limit {
			return nil, errTooMany
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	return names, nil
}

func statAt(dir int, name string, st *unix.Stat_t) error {
	return unix.Fstatat(dir, name, st, unix.AT_SYMLINK_NOFOLLOW)
}

func readlinkAt(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax+1)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// xattrs returns the names of an entry's extended attributes, of the entry
// itself if it is a link. File systems without any have none.
func xattrs(dir int, name string) ([]string, error) {
	p := "/proc/self/fd/" + strconv.Itoa(dir) + "/" + name
	var small [512]byte
	buf := small[:]
	n, err := unix.Llistxattr(p, buf)
	if err == unix.ERANGE {
		buf = make([]byte, 64<<10)
		n, err = unix.Llistxattr(p, buf)
	}
	if err == unix.ENOTSUP || err == unix.EPERM || n <= 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00"), nil
}

func xattr(dir int, name, attr string) (string, error) {
	buf := make([]byte, 4096)
	n, err := unix.Lgetxattr("/proc/self/fd/"+strconv.Itoa(dir)+"/"+name, attr, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// makeDirsBeneath opens the directory rel below root, making what is missing
// with the mode the same directory has below like, for owner uid, gid.
func makeDirsBeneath(root int, rel string, like, uid, gid int) (int, error) {
	at := "."
	for part := range strings.SplitSeq(rel, "/") {
		at = path.Join(at, part)
		if fd, err := openBeneath(root, at, unix.O_PATH|unix.O_DIRECTORY); err == nil {
			unix.Close(fd)
			continue
		}
		var st unix.Stat_t
		if err := statBeneath(like, at, &st); err != nil {
			return -1, err
		}
		parent, err := openBeneath(root, path.Dir(at), unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return -1, err
		}
		err = unix.Mkdirat(parent, part, 0o700)
		if err == nil {
			err = giveTo(parent, part, st.Mode&0o7777, uid, gid)
		}
		unix.Close(parent)
		if err != nil {
			return -1, err
		}
	}
	return openBeneath(root, rel, unix.O_RDONLY|unix.O_DIRECTORY)
}

// giveTo sets owner and mode of a file or directory that was just made.
func giveTo(dir int, name string, mode uint32, uid, gid int) error {
	if uid != os.Getuid() {
		if err := unix.Fchownat(dir, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	return unix.Fchmodat(dir, name, mode, 0)
}

func statBeneath(root int, rel string, st *unix.Stat_t) error {
	fd, err := openBeneath(root, rel, unix.O_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fstat(fd, st)
}
