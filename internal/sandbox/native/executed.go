package native

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/carrel-dev/carrel/internal/sandbox"
)

// Bounds of what is read of one command.
const (
	maxArguments = 4096
	maxCommand   = 256 << 10 // bytes of all arguments
)

// read looks at a program that is about to be executed. An errno of the file
// system is what the kernel would say of the path.
func (x *executions) read(n *notification) (e sandbox.Execution, err error) {
	pid := int(n.pid)
	dir, at, argv, flags := unix.AT_FDCWD, n.args[0], n.args[1], uint64(0)
	if n.call == unix.SYS_EXECVEAT {
		dir, at, argv, flags = int(int32(n.args[0])), n.args[1], n.args[2], n.args[4]
	}
	m := memory{pid: pid}
	if e.RawPath, err = m.text(at, unix.PathMax); err != nil {
		return e, err
	}
	if e.Argv, err = m.list(argv); err != nil {
		return e, err
	}
	e.PID, e.Parent = insideIDs(pid)
	if e.Cwd, err = os.Readlink(procPath(pid, "cwd")); err != nil {
		return e, err
	}
	program, err := openProgram(pid, e.PID, dir, e.Cwd, e.RawPath, flags)
	if err != nil {
		return e, err
	}
	defer program.Close()
	if e.Path, err = os.Readlink("/proc/self/fd/" + strconv.Itoa(int(program.Fd()))); err != nil {
		return e, err
	}
	e.Path = strings.TrimSuffix(e.Path, " (deleted)")
	d := x.known.get(program)
	e.Digest, e.Hashed = d.now(), d.wait
	return e, nil
}

func procPath(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

// openProgram opens, without reading it, what a process would execute.
func openProgram(pid, inside, dir int, cwd, name string, flags uint64) (*os.File, error) {
	if name == "" && flags&unix.AT_EMPTY_PATH != 0 {
		return openPath(procPath(pid, "fd/"+strconv.Itoa(dir)))
	}
	if own, ok := ownProc(name, inside); ok {
		return openPath(procPath(pid, own))
	}
	if !strings.HasPrefix(name, "/") {
		base := cwd
		if dir != unix.AT_FDCWD {
			var err error
			if base, err = os.Readlink(procPath(pid, "fd/"+strconv.Itoa(dir))); err != nil {
				return nil, err
			}
		}
		name = base + "/" + name
	}
	root, err := unix.Open(procPath(pid, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("looking into the desk: %w", hidden(err))
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, "."+name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// ownProc recognises what a process names of itself in /proc, which leads
// where no path does: its program and its open files.
func ownProc(name string, inside int) (rest string, ok bool) {
	for _, self := range []string{"/proc/self/", "/proc/thread-self/", "/proc/" + strconv.Itoa(inside) + "/"} {
		if rest, ok = strings.CutPrefix(path.Clean(name), self); ok && (rest == "exe" || strings.HasPrefix(rest, "fd/") && path.Dir(rest) == "fd") {
			return rest, true
		}
	}
	return "", false
}

func openPath(link string) (*os.File, error) {
	fd, err := unix.Open(link, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("looking into the desk: %w", hidden(err))
	}
	return os.NewFile(uintptr(fd), link), nil
}

// hidden keeps an error about the process from being taken for one about the
// program's path.
func hidden(err error) error { return errors.New(err.Error()) }

// insideIDs returns the numbers that a process and its parent have inside; 0
// where that cannot be told.
func insideIDs(pid int) (own, parent int) {
	own, outside := idsOf(pid)
	if outside > 0 {
		parent, _ = idsOf(outside)
	}
	return own, parent
}

// idsOf reads a process's innermost number and its parent's outermost one.
func idsOf(pid int) (inside, parent int) {
	status, err := os.ReadFile(procPath(pid, "status"))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "PPid:"); ok {
			parent, _ = strconv.Atoi(strings.TrimSpace(v))
		}
		if v, ok := strings.CutPrefix(line, "NSpid:"); ok {
			if ids := strings.Fields(v); len(ids) > 0 {
				inside, _ = strconv.Atoi(ids[len(ids)-1])
			}
			break
		}
	}
	return inside, parent
}
