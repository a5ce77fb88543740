package desk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

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
		fd, err := r.lookup(m.Target)
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
			return nil // what does not exist needs no cover
		case err != nil:
			return err // and what cannot be looked at must not go without
		}
		unix.Close(fd)
	}
	if made, err := r.plainFile(m); made || err != nil {
		return err
	}
	if err := writeFile(r.fd, staged, m); err != nil {
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

// plainFile makes a file directly on the desk's root, which is read-only for
// the agent, if nothing is there yet: most files need no mount of their own.
func (r *root) plainFile(m *Mount) (made bool, err error) {
	if fd, err := r.lookup(m.Target); err == nil {
		unix.Close(fd)
		return false, nil
	} else if !errors.Is(err, unix.ENOENT) {
		return false, nil // the mount says what is wrong
	}
	err = r.create(m.Target, func(parent int, name string) error {
		var st unix.Stat_t
		if err := unix.Fstat(parent, &st); err != nil || st.Dev != r.number {
			return err // a tmpfs that the agent may write to: cover it
		}
		made = true
		return writeFile(parent, name, m)
	})
	return made, err
}

// writeFile makes a new file in dir.
func writeFile(dir int, name string, m *Mount) error {
	mode := orMode(m.Mode, 0o444)
	fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, mode)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.WriteString(m.Content)
	return errors.Join(err, f.Chmod(fs.FileMode(mode&0o777)), f.Close())
}
