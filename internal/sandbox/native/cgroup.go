package native

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cgroup holds a desk's memory, in version 1 or 2 of the kernel's interface.
type cgroup struct {
	dir  string
	v2   bool
	hold *os.File // of a scope: open as long as it is needed; else nil
}

// place is a directory in which groups may be made.
type place struct {
	dir string
	v2  bool
}

// newCgroup makes a group that holds memory bytes and puts pid in it.
func newCgroup(run string, pid int, memory int64) (*cgroup, error) {
	reapGroups()
	var problems []error
	for _, p := range memoryPlaces("/proc/self/cgroup", "/proc/self/mountinfo") {
		g := &cgroup{dir: filepath.Join(p.dir, groupPrefix+strconv.Itoa(os.Getpid())+"-"+run), v2: p.v2}
		err := g.make(pid, memory)
		if err == nil {
			return g, nil
		}
		var perr *fs.PathError
		if errors.As(err, &perr) {
			err = fmt.Errorf("%s: %w", p.dir, perr.Err)
		}
		problems = append(problems, err)
		g.remove()
	}
	return nil, fmt.Errorf("no cgroup for memory may be made here: %w", errors.Join(problems...))
}

// groupPrefix begins the name of every group of ours; the supervisor's process
// number follows, so that leftovers can be told from what is in use.
const groupPrefix = "carrel-"

func (g *cgroup) make(pid int, memory int64) error {
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return err
	}
	limit := strconv.FormatInt(memory, 10)
	if g.v2 {
		if err := g.set("memory.max", limit); err != nil {
			return err
		}
		_ = g.set("memory.swap.max", "0") // absent where swap is not counted
	} else {
		if err := g.set("memory.limit_in_bytes", limit); err != nil {
			return err
		}
		_ = g.set("memory.memsw.limit_in_bytes", limit)
	}
	return g.set("cgroup.procs", strconv.Itoa(pid))
}

func (g *cgroup) version() string {
	if g.hold != nil {
		return "version 2, a scope of the user's systemd"
	}
	if g.v2 {
		return "version 2"
	}
	return "version 1"
}

func (g *cgroup) set(name, value string) error {
	return os.WriteFile(filepath.Join(g.dir, name), []byte(value), 0)
}

// peak returns the most memory that was in use at once, 0 if unknown.
func (g *cgroup) peak() int64 {
	name := "memory.max_usage_in_bytes"
	if g.v2 {
		name = "memory.peak"
	}
	n, _ := strconv.ParseInt(setting(filepath.Join(g.dir, name)), 10, 64)
	return n
}

// killed reports whether the kernel killed a process for want of memory.
func (g *cgroup) killed() bool {
	name := "memory.oom_control"
	if g.v2 {
		name = "memory.events"
	}
	for _, line := range strings.Split(setting(filepath.Join(g.dir, name)), "\n") {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return n != "0"
		}
	}
	return false
}

// remove removes the group. The kernel needs a moment after the last process.
func (g *cgroup) remove() {
	if g.hold != nil {
		g.hold.Close() // systemd removes a scope that is empty
		return
	}
	for range 50 {
		if err := os.Remove(g.dir); err == nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// memoryPlaces lists where groups that hold memory may be made: below our own
// group in version 1; in version 2 beside it, since a group with processes
// may not pass controllers on, or below it if it is the root.
func memoryPlaces(groups, mounts string) (out []place) {
	v1, v2 := ownGroups(groups)
	for _, m := range cgroupMounts(mounts) {
		switch {
		case m.kind == "cgroup" && v1 != "" && hasOption(m.options, "memory"):
			out = append(out, place{dir: m.under(v1)})
		case m.kind == "cgroup2" && v2 != "":
			own := m.under(v2)
			for _, dir := range []string{filepath.Dir(own), own} {
				if strings.HasPrefix(dir, m.at) && hasWord(setting(filepath.Join(dir, "cgroup.subtree_control")), "memory") {
					out = append(out, place{dir: dir, v2: true})
				}
			}
		}
	}
	return out
}

// ownGroups returns our own group for memory in version 1, and in version 2.
func ownGroups(file string) (v1, v2 string) {
	for _, line := range strings.Split(setting(file), "\n") {
		f := strings.SplitN(line, ":", 3)
		switch {
		case len(f) != 3:
		case f[0] == "0":
			v2 = f[2]
		case hasOption(f[1], "memory"):
			v1 = f[2]
		}
	}
	return v1, v2
}

type cgroupMount struct{ at, root, kind, options string }

// under returns the directory of a group below this mount.
func (m cgroupMount) under(group string) string {
	return filepath.Join(m.at, strings.TrimPrefix(group, strings.TrimSuffix(m.root, "/")))
}

func cgroupMounts(file string) (out []cgroupMount) {
	for _, line := range strings.Split(setting(file), "\n") {
		left, right, ok := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if ok && len(l) >= 5 && len(r) >= 3 && strings.HasPrefix(r[0], "cgroup") {
			out = append(out, cgroupMount{at: l[4], root: l[3], kind: r[0], options: r[2]})
		}
	}
	return out
}

func hasOption(list, want string) bool {
	return hasWord(strings.ReplaceAll(list, ",", " "), want)
}

func hasWord(list, want string) bool {
	for _, w := range strings.Fields(list) {
		if w == want {
			return true
		}
	}
	return false
}
