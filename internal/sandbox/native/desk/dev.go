package desk

import (
	"errors"

	"golang.org/x/sys/unix"
)

// devices of the host that a desk has. They are the only mounts without nodev.
var devices = []string{"full", "null", "random", "tty", "urandom", "zero"}

var devLinks = [][2]string{
	{"/proc/self/fd", "/dev/fd"},
	{"/proc/self/fd/0", "/dev/stdin"},
	{"/proc/self/fd/1", "/dev/stdout"},
	{"/proc/self/fd/2", "/dev/stderr"},
	{"pts/ptmx", "/dev/ptmx"},
}

// dev makes a /dev with the few devices that programs need and terminals of
// the desk's own.
func (r *root) dev() error {
	if err := r.tmpfs("/dev", 0o755, 1<<20, unix.MOUNT_ATTR_NOEXEC); err != nil {
		return err
	}
	for _, name := range devices {
		if err := r.device(name); err != nil {
			return err
		}
	}
	pts, err := makeFS("devpts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, [2]string{"ptmxmode", "0666"}, [2]string{"mode", "0600"})
	if err != nil {
		return err
	}
	defer unix.Close(pts)
	err = r.place(pts, "/dev/pts")
	for _, l := range devLinks {
		err = errors.Join(err, r.symlink(l[0], l[1]))
	}
	return err
}

func (r *root) device(name string) error {
	tree, err := cloneTree(unix.AT_FDCWD, "/dev/"+name)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return err
	}
	return r.place(tree, "/dev/"+name)
}

// closeDev makes /dev itself read-only once everything in it is mounted.
func (r *root) closeDev() error {
	fd, err := r.lookup("/dev")
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// openPty opens a terminal on the desk's own devpts. It works only after
// pivot, and only while the caller may still open /dev.
func openPty() (master, slave int, err error) {
	master, err = unix.Open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, -1, failed("opening a terminal", err)
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return -1, -1, failed("opening a terminal", err)
	}
	slave, err = unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return -1, -1, failed("opening a terminal", err)
	}
	slave, err = unix.Open("/dev/pts/"+itoa(slave), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	return master, slave, failed("opening a terminal", err)
}
