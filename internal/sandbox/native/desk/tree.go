package desk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A tree is a mount that is attached nowhere yet. Those of the host are
// opened by whoever may: by PID 1 when the desk's user is the invoking user,
// by the supervisor when it is root and the desk's user is nobody's.

// OpenTree opens what m shows: a bind or an overlay. userns, unless it is
// negative, is a user namespace that maps the owner of the files to the
// desk's user; the tree is then shown through it.
func OpenTree(m *Mount, userns int) (int, error) {
	switch m.Kind {
	case Bind:
		return openBind(m, userns)
	case Overlay:
		return openOverlay(m, userns)
	}
	return -1, fmt.Errorf("mount of kind %d is not of the host", m.Kind)
}

func openBind(m *Mount, userns int) (int, error) {
	fd, err := cloneTree(unix.AT_FDCWD, m.Source)
	if err != nil {
		return -1, err
	}
	if err := protect(fd, m, userns); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func cloneTree(dir int, path string) (int, error) {
	fd, err := unix.OpenTree(dir, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH)
	if err != nil {
		return -1, fmt.Errorf("opening %s: %w", path, err)
	}
	return fd, nil
}

// protect takes from a tree, and every mount below it, what no desk has:
// setuid, devices, ties to the host's mounts, and writing unless m grants it.
func protect(fd int, m *Mount, userns int) error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV, Propagation: unix.MS_PRIVATE}
	if !m.Writable {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if m.NoExec {
		attr.Attr_set |= unix.MOUNT_ATTR_NOEXEC
	}
	if userns >= 0 {
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(userns)
	}
	err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr)
	if err != nil && userns >= 0 {
		return fmt.Errorf("showing %s%s as the desk's own (an idmapped mount): %w", m.Source, m.Lower, err)
	}
	if err != nil {
		return fmt.Errorf("protecting %s%s: %w", m.Source, m.Lower, err)
	}
	return nil
}

// openOverlay names its layers by descriptor, so that paths of any bytes work
// and none of the host shows in the desk's mount table.
func openOverlay(m *Mount, userns int) (int, error) {
	lower, err := openLower(m, userns)
	if err != nil {
		return -1, err
	}
	defer unix.Close(lower)
	upper, err := openDir(m.Upper)
	if err != nil {
		return -1, err
	}
	defer unix.Close(upper)
	work, err := openDir(m.Work)
	if err != nil {
		return -1, err
	}
	defer unix.Close(work)
	options := [][2]string{
		{"source", "carrel"},
		{"lowerdir", fdPath(lower)},
		{"upperdir", fdPath(upper)},
		{"workdir", fdPath(work)},
		{"redirect_dir", "nofollow"}, // an upper is read as data later: no file in it may point elsewhere
		{"index", "off"},
		{"metacopy", "off"},
		{"volatile", ""}, // else the end of every run waits until the host's whole disk is written back
	}
	// Marks are trusted. attributes where whoever mounts may write those, else
	// user. ones: the reader of the layers goes by the same rule.
	if os.Geteuid() != 0 {
		options = append(options, [2]string{"userxattr", ""})
	}
	fd, err := makeFS("overlay", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, options...)
	if err != nil {
		return -1, fmt.Errorf("overlay over %s: %w", m.Lower, err)
	}
	return fd, nil
}

// openLower returns the lower layer: the directory, or an idmapped view of it.
// An overlay shows one mount: those below it are layers of their own, and not
// all of them could be shown as another user's.
func openLower(m *Mount, userns int) (int, error) {
	if userns < 0 {
		return openDir(m.Lower)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, m.Lower, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("opening %s: %w", m.Lower, err)
	}
	if err := protect(fd, &Mount{Lower: m.Lower}, userns); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func openDir(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("opening %s: %w", path, err)
	}
	return fd, nil
}

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// makeFS makes a file system of its own and returns it unattached. An option
// with an empty value is a flag.
func makeFS(kind string, attrs int, options ...[2]string) (int, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("%s: %w", kind, err)
	}
	defer unix.Close(fs)
	for _, o := range options {
		if o[1] == "" {
			err = unix.FsconfigSetFlag(fs, o[0])
		} else {
			err = unix.FsconfigSetString(fs, o[0], o[1])
		}
		if err != nil {
			return -1, fmt.Errorf("%s option %s: %w", kind, o[0], explain(fs, err))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("%s: %w", kind, explain(fs, err))
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attrs)
	if err != nil {
		return -1, fmt.Errorf("%s: %w", kind, explain(fs, err))
	}
	return fd, nil
}

// explain adds what the kernel says about a mount that it refused.
func explain(fs int, err error) error {
	var said []byte
	buf := make([]byte, 512)
	for range 8 { // the kernel keeps at most so many lines
		n, rerr := unix.Read(fs, buf)
		if rerr != nil || n <= 2 {
			break
		}
		said = append(append(said, ' '), bytes.TrimSpace(buf[2:n])...)
	}
	if len(said) == 0 {
		return err
	}
	return fmt.Errorf("%w (the kernel says:%s)", err, said)
}

// openTrees opens every tree of the plan that PID 1 must place: its own, or
// those that the supervisor handed in; -1 where the kind of mount has none.
func openTrees(p *Plan, handed []int) ([]int, error) {
	trees := make([]int, len(p.Mounts))
	for i := range p.Mounts {
		m := &p.Mounts[i]
		trees[i] = -1
		if m.Kind != Bind && m.Kind != Overlay {
			continue
		}
		if p.Handed {
			if len(handed) == 0 {
				return nil, errors.New("the supervisor handed in too few mounts")
			}
			trees[i], handed = handed[0], handed[1:]
			continue
		}
		fd, err := OpenTree(m, -1)
		if err != nil {
			return nil, failed("mounting "+m.Target, err)
		}
		trees[i] = fd
	}
	return trees, nil
}
