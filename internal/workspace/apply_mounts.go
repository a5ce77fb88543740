package workspace

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// treeMounts are the mounts inside a tree, opened when they are needed. It is
// safe for concurrent use.
type treeMounts struct {
	root int
	at   []string // relative to the tree, parents first

	mu   sync.Mutex // guards open
	open map[string]int
}

// of returns the mount that a directory lies on, "" for the tree's own.
func (m *treeMounts) of(dir string) (at string) {
	for _, p := range m.at {
		if within(dir, p) {
			at = p // parents come first: the last one is the nearest
		}
	}
	return at
}

// above returns the mount that a directory lies on, and its root, opened.
func (m *treeMounts) above(dir string) (at string, root int, err error) {
	if at = m.of(dir); at == "" {
		return "", m.root, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if fd, ok := m.open[at]; ok {
		return at, fd, nil
	}
	fd, err := openBeneath(m.root, at, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return at, -1, err
	}
	var st unix.Statx_t
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH, 0, &st)
	if err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		err = fmt.Errorf("%s is not mounted any more: %w", at, unix.EXDEV)
	}
	if err != nil {
		unix.Close(fd)
		return at, -1, err
	}
	m.open[at] = fd
	return at, fd, nil
}

// sync writes the file systems of the tree and of what was opened to disk.
func (m *treeMounts) sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := unix.Syncfs(m.root)
	for _, fd := range m.open {
		if err == nil {
			err = unix.Syncfs(fd)
		}
	}
	return err
}

func (m *treeMounts) close() {
	for _, fd := range m.open {
		unix.Close(fd)
	}
}
