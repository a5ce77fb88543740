package credential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// FromFile takes the key from a file that only its owner can read and that
// lies in none of the directories given, which the agent can see.
func FromFile(path string, visible ...string) *Source {
	return &Source{where: "file " + path, keep: keepFile, fetch: func(context.Context) (string, error) {
		return readPrivate(path, visible)
	}}
}

func readPrivate(path string, visible []string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", errors.New("say its absolute path")
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if err := checkPrivate(f); err != nil {
		return "", err
	}
	for _, dir := range visible {
		if err := checkOutside(f, dir); err != nil {
			return "", err
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+2))
	return string(b), err
}

// checkPrivate looks at the open file, not at its path, which may change.
func checkPrivate(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("looking at it: %w", err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("it is no regular file")
	case st.Mode&0o077 != 0:
		return fmt.Errorf("others can open it (mode %04o): chmod 600 %s", st.Mode&0o7777, f.Name())
	case int(st.Uid) != os.Geteuid() && st.Uid != 0:
		return fmt.Errorf("it belongs to another user (uid %d)", st.Uid)
	}
	return nil
}

// checkOutside refuses a file whose real place is below dir.
func checkOutside(f *os.File, dir string) error {
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return fmt.Errorf("finding its real place: %w", err)
	}
	dir, err = filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("resolving %s: %w", dir, err)
	}
	if rel, err := filepath.Rel(dir, real); err != nil || rel == "." || !strings.HasPrefix(rel, "../") {
		return fmt.Errorf("it lies in %s, which the agent can read: keep it elsewhere", dir)
	}
	return nil
}
