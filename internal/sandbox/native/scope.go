package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/carrel-dev/carrel/internal/sandbox/native/desk"
)

// Where an ordinary user may write no cgroup, as in a login over SSH, the
// user's own systemd can make a scope that holds the desk's memory. It is
// asked through busctl, which comes with it.

// scopePatience bounds asking for a scope: without one, memory is watched.
const scopePatience = 2 * time.Second

// newScope puts a desk in a scope of the user's systemd. image is the program
// that keeps the scope there until it was looked at for the last time.
func newScope(image *os.File, run string, pid int, memory int64) (*cgroup, error) {
	runtimeDir := "/run/user/" + strconv.Itoa(os.Getuid())
	if _, err := os.Stat(filepath.Join(runtimeDir, "systemd/private")); err != nil {
		return nil, errors.New("no systemd of the user runs that could make a scope")
	}
	keeper, hold, err := startKeeper(image)
	if err != nil {
		return nil, err
	}
	unit := groupPrefix + strconv.Itoa(os.Getpid()) + "-" + run + ".scope"
	g := &cgroup{v2: true, hold: hold}
	if err = askForScope(runtimeDir, unit, memory, pid, keeper); err == nil {
		g.dir, err = scopeOf(pid, unit)
	}
	if err == nil && setting(filepath.Join(g.dir, "memory.max")) != strconv.FormatInt(memory, 10) {
		err = errors.New("systemd made a scope that does not hold memory")
	}
	if err != nil {
		g.remove()
		return nil, err
	}
	return g, nil
}

// startKeeper starts a process that waits until the file it returns is closed.
func startKeeper(image *os.File) (pid int, hold *os.File, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, nil, err
	}
	defer r.Close()
	pid, err = execute(image, []string{desk.Name, desk.Hold}, &syscall.ProcAttr{Env: []string{}, Files: []uintptr{r.Fd()}})
	if err != nil {
		w.Close()
		return 0, nil, err
	}
	go func() { // ends when hold is closed
		for {
			if _, err := syscall.Wait4(pid, nil, 0, nil); !errors.Is(err, syscall.EINTR) {
				return
			}
		}
	}()
	return pid, w, nil
}

// askForScope calls the user's systemd, whose socket is in runtimeDir.
func askForScope(runtimeDir, unit string, memory int64, pids ...int) error {
	ctx, cancel := context.WithTimeout(context.Background(), scopePatience)
	defer cancel()
	args := []string{"--user", "--quiet", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
		"StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", "5",
		"Description", "s", "a desk of Carrel", "CollectMode", "s", "inactive-or-failed",
		"MemoryMax", "t", strconv.FormatInt(memory, 10), "MemorySwapMax", "t", "0",
		"PIDs", "au", strconv.Itoa(len(pids))}
	for _, pid := range pids {
		args = append(args, strconv.Itoa(pid))
	}
	cmd := exec.CommandContext(ctx, "busctl", append(args, "0")...)
	cmd.Env = []string{"XDG_RUNTIME_DIR=" + runtimeDir}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("asking systemd for a scope: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// scopeOf waits until a process is in the scope and returns its directory.
func scopeOf(pid int, unit string) (string, error) {
	for end := time.Now().Add(scopePatience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		_, group := ownGroups("/proc/" + strconv.Itoa(pid) + "/cgroup")
		if filepath.Base(group) != unit {
			continue
		}
		for _, m := range cgroupMounts("/proc/self/mountinfo") {
			if m.kind == "cgroup2" {
				return m.under(group), nil
			}
		}
		return "", errors.New("cgroups of version 2 are not mounted")
	}
	return "", errors.New("systemd did not move the desk into its scope")
}
